"""pg8000: pure Python, extended protocol for everything with parameters."""

from __future__ import annotations

import io
from typing import Any

import pg8000.dbapi  # type: ignore[import-untyped]
import pg8000.native  # type: ignore[import-untyped]
import pytest

from ..beams import Direct
from ..clusters import DATABASE


def connect(leg: Direct, **options: Any) -> Any:
    """A connection of the native interface."""
    return pg8000.native.Connection("app", host="127.0.0.1", port=leg.port, database=DATABASE, **options)


def test_queries_and_types(leg: Direct) -> None:
    """Parameters and results of several types."""
    with connect(leg) as conn:
        assert conn.run("SELECT :a::int + 1, :b::text, :c::int[]", a=1, b="é", c=[1, 2]) == [[2, "é", [1, 2]]]
        assert conn.run("SELECT name FROM products WHERE id = :id", id=3) == [["product 3"]]


def test_prepared(leg: Direct) -> None:
    """prepare() makes a named statement that is run often and closed."""
    with connect(leg) as conn:
        statement = conn.prepare("SELECT name FROM products WHERE id = :id")
        for number in range(1, 10):
            assert statement.run(id=number) == [[f"product {number}"]]
            conn.run("BEGIN")
            assert statement.run(id=number) == [[f"product {number}"]]
            conn.run("COMMIT")
        statement.close()


def test_errors_leave_the_session_usable(leg: Direct) -> None:
    """Errors arrive with their fields and the next query works."""
    with connect(leg) as conn:
        with pytest.raises(pg8000.native.DatabaseError) as refused:
            conn.run("SELECT 1 / :n", n=0)
        assert refused.value.args[0]["C"] == "22012"
        assert conn.run("SELECT 1") == [[1]]


def test_copy(leg: Direct) -> None:
    """COPY by stream, both ways."""
    data = b"".join(b"%d\tx\n" % number for number in range(4000, 4500))
    out = io.BytesIO()
    with connect(leg) as conn:
        conn.run("COPY categories FROM STDIN", stream=io.BytesIO(data))
        conn.run("COPY (SELECT * FROM categories WHERE id >= 4000 ORDER BY id) TO STDOUT", stream=out)
    assert out.getvalue() == data


def test_notifications(leg: Direct) -> None:
    """LISTEN and NOTIFY on one connection."""
    with connect(leg) as conn:
        conn.run("LISTEN till")
        conn.run("NOTIFY till, 'ring'")
        conn.run("SELECT 1")
        assert [each[1:] for each in conn.notifications] == [("till", "ring")]


def test_dbapi_transactions(leg: Direct) -> None:
    """The DB-API interface with its implicit transactions."""
    conn = pg8000.dbapi.connect("app", host="127.0.0.1", port=leg.port, database=DATABASE)
    cur = conn.cursor()
    cur.execute("UPDATE accounts SET balance = %s WHERE id = 1", (3,))
    conn.rollback()
    cur.execute("SELECT balance::int FROM accounts WHERE id = 1")
    assert cur.fetchone() == [100]
    conn.commit()
    conn.close()
