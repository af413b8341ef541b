"""What functions of users' own may do, as they are declared and as their bodies bear out."""

from __future__ import annotations

import pytest

from pgbeam_core.catalog.functions import Functions


def code(
    name: str, letter: str = "v", language: str = "sql", *, writes: bool = False, calls: str = "", body: str = ""
) -> list[tuple[str, ...]]:
    """The rows of one function."""
    declared = ("function", "public", name, letter)
    return [declared, ("code", "public", name, letter, language, "writes" if writes else "", calls, body)]


def test_a_function_is_as_steady_as_the_worst_of_its_name() -> None:
    """An unqualified call may mean any of them, PostgreSQL's of that name included."""
    found = Functions(
        [
            *code("lower", "v"),
            *code("tax", "i", body="SELECT $1 * 2"),
            *code("mixed", "i", body="SELECT 1"),
            ("function", "other", "mixed", "v"),
            *code("now", "i", body="SELECT 1"),
        ]
    )
    assert found.is_pure((None, "tax"))
    assert found.is_pure(("public", "tax"))
    assert not found.is_pure(("nowhere", "tax"))
    assert found.is_pure(("public", "mixed"))
    for name in ("lower", "mixed", "now", "unknown"):
        assert not found.is_pure((None, name))
    assert found.is_pure(("pg_catalog", "lower"))
    assert found.is_code((None, "lower"))
    assert not found.is_code((None, "upper"))
    assert found.is_code((None, "unknown"))
    assert found.is_code((None, "query_to_xml"))


@pytest.mark.parametrize(
    ("language", "body"),
    [
        ("sql", "SELECT max(v) FROM t"),
        ("sql", "SELECT now()::text"),
        ("sql", "SELECT other()"),
        ("sql", ""),
        ("plpgsql", "BEGIN RETURN (SELECT v FROM t); END"),
        ("plpgsql", "BEGIN EXECUTE 'SELECT 1'; RETURN 1; END"),
        ("plpgsql", "BEGIN RETURN now(); END"),
        ("plpgsql", "BEGIN RETURN current_date; END"),
        ("plpgsql", "BEGIN RETURN $1::timestamptz; END"),
        ("plpgsql", "BEGIN FOR r IN t LOOP RETURN r; END LOOP; PERFORM x; END"),
        ("plpython3u", ""),
        ("internal", ""),
    ],
)
def test_an_immutable_function_whose_body_says_otherwise_is_not_believed(language: str, body: str) -> None:
    """What it gives would outlive the rows that it was read from."""
    assert not Functions(code("f", "i", language, body=body)).is_pure((None, "f"))


@pytest.mark.parametrize(
    ("language", "body"),
    [
        ("sql", "SELECT upper($1) || 'x'"),
        ("plpgsql", "BEGIN IF $1 IS DISTINCT FROM $2 THEN RETURN lower($1); END IF; RETURN 1; END"),
        ("c", ""),
    ],
)
def test_others_are(language: str, body: str) -> None:
    """What is made of its arguments alone is worth remembering."""
    assert Functions(code("f", "i", language, body=body)).is_pure((None, "f"))


def test_who_calls_one_that_writes_may_write() -> None:
    """However deep, and by aggregates and operators too."""
    found = Functions(
        [
            *code("writer", writes=True),
            *code("middle", "s", calls="writer"),
            *code("outer", "s", calls="middle"),
            *code("harmless", "v", calls="harmless"),
            ("aggregate", "public", "total", "Outer"),
            *code("optional"),
            ("default", "public", "optional", "writer"),
            ("operator", "public", "<+>", "outer", "i", "own"),
            ("operator", "public", "===", "int4eq", "i", ""),
        ]
    )
    for name in ("writer", "middle", "outer", "total", "optional", "<+>", "unknown", ""):
        assert found.may_write(name)
        assert found.is_code((None, name))
    assert not found.may_write("harmless")
    assert not found.may_write("===")
    assert not found.is_code((None, "==="))
    assert found.is_pure((None, "==="))
    assert not found.is_pure((None, "total"))


def test_bodies_are_trusted_only_where_all_that_they_call_shows() -> None:
    """Operators are not looked for in bodies: one that writes makes all doubtful but those that only compute."""
    rows = [*code("writer", writes=True), *code("plain"), *code("pure", "i", "sql", body="SELECT 1")]
    assert not Functions(rows).operators_may_write
    found = Functions([*rows, ("operator", "public", "<+>", "writer", "v", "own")])
    assert found.operators_may_write
    assert [found.may_write(name) for name in ("plain", "pure")] == [False, False]
    found.trusts_bodies = False
    assert [found.may_write(name) for name in ("plain", "pure")] == [True, False]
