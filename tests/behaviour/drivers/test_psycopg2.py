"""psycopg2: libpq by the simple protocol, named cursors, COPY, notifications, large objects."""

from __future__ import annotations

import io
import select
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import psycopg2.extensions  # type: ignore[import-untyped]
import psycopg2.extras  # type: ignore[import-untyped]
import pytest

from ..beams import Direct


def connect(leg: Direct, autocommit: bool = False) -> Any:
    """A connection, by default with psycopg2's implicit transactions."""
    conn = psycopg2.connect(leg.url())
    conn.autocommit = autocommit
    return conn


def test_queries_and_rollback(leg: Direct) -> None:
    """Implicit transactions with parameters, commit and rollback."""
    conn = connect(leg)
    with conn, conn.cursor() as cur:
        cur.execute("SELECT name FROM products WHERE id = %s", [5])
        assert cur.fetchone() == ("product 5",)
        cur.execute("DELETE FROM orders")
        conn.rollback()
        cur.execute("SELECT count(*) FROM orders")
        assert cur.fetchone() == (50,)
    conn.close()


def test_isolation_level_and_session(leg: Direct) -> None:
    """set_session() changes isolation and read-only for the transactions that follow."""
    conn = connect(leg)
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True)
    with conn.cursor() as cur:
        cur.execute("SHOW transaction_isolation")
        assert cur.fetchone() == ("serializable",)
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cur.execute("DELETE FROM orders")
    conn.rollback()
    conn.close()


def test_named_cursor(leg: Direct) -> None:
    """A named cursor reads a result in batches, also WITH HOLD."""
    conn = connect(leg)
    with conn.cursor("batches", withhold=True) as cur:
        cur.itersize = 10
        cur.execute("SELECT i FROM generate_series(1, 95) i")
        first = cur.fetchmany(5)
        conn.commit()
        assert [row[0] for row in [*first, *cur]] == list(range(1, 96))
    conn.close()


def test_copy_expert(leg: Direct) -> None:
    """copy_expert both ways gives back what went in."""
    data = "".join(f"{number}\tname {number}\n" for number in range(1000, 3000))
    out = io.StringIO()
    conn = connect(leg, autocommit=True)
    with conn.cursor() as cur:
        cur.copy_expert("COPY categories FROM STDIN", io.StringIO(data))
        cur.copy_expert("COPY (SELECT * FROM categories WHERE id >= 1000 ORDER BY id) TO STDOUT", out)
    conn.close()
    assert out.getvalue() == data


def test_notifications(leg: Direct) -> None:
    """LISTEN with poll() and select()."""
    conn, other = connect(leg, autocommit=True), connect(leg, autocommit=True)
    conn.cursor().execute("LISTEN till")
    other.cursor().execute("NOTIFY till, 'ring'")
    assert select.select([conn], [], [], 5)[0]
    conn.poll()
    assert [(each.channel, each.payload) for each in conn.notifies] == [("till", "ring")]
    conn.close()
    other.close()


def test_large_objects(leg: Direct) -> None:
    """Large objects by libpq's FunctionCall messages."""
    conn = connect(leg)
    large = conn.lobject(0, "wb")
    large.write(b"0123456789" * 10000)
    number = large.oid
    large.close()
    again = conn.lobject(number, "rb")
    again.seek(99_995)
    assert again.read() == b"56789"
    again.unlink()
    conn.commit()
    conn.close()


def test_execute_values_and_dict_rows(leg: Direct) -> None:
    """The extras that applications use."""
    conn = connect(leg)
    with conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cur:
        rows = [(3000 + number, "v") for number in range(250)]
        psycopg2.extras.execute_values(cur, "INSERT INTO categories VALUES %s", rows)
        cur.execute("SELECT count(*) AS n FROM categories WHERE id >= 3000")
        assert cur.fetchone() == {"n": 250}
    conn.rollback()
    conn.close()


def test_prepare_by_sql(leg: Direct) -> None:
    """PREPARE and EXECUTE over several transactions, as old applications do."""
    conn = connect(leg)
    with conn.cursor() as cur:
        cur.execute("PREPARE byid AS SELECT name FROM products WHERE id = $1")
        conn.commit()
        for number in (1, 2):
            cur.execute("EXECUTE byid (%s)", [number])
            assert cur.fetchone() == (f"product {number}",)
            conn.commit()
        cur.execute("DEALLOCATE byid")
    conn.commit()
    conn.close()


def test_two_phase_commit(leg: Direct) -> None:
    """tpc_prepare here, tpc_commit by recovery from another connection."""
    conn = connect(leg)
    conn.tpc_begin(conn.xid(7, f"two-phase-{leg.pool_mode}", "x"))
    with conn.cursor() as cur:
        cur.execute("UPDATE accounts SET balance = 9 WHERE id = 9")
    conn.tpc_prepare()
    conn.close()
    other = connect(leg)
    (found,) = [xid for xid in other.tpc_recover() if xid.gtrid == f"two-phase-{leg.pool_mode}"]
    other.rollback()
    other.tpc_commit(found)
    other.close()
