"""Texts are analysed once and remembered within bounds."""

from __future__ import annotations

import pytest

from pgbeam_core.api.statement import Kind
from pgbeam_core.sql.statements import Statements


@pytest.fixture
def statements() -> Statements:
    """An empty memory of the default size."""
    return Statements()


def test_equal_texts_give_the_same_statement(statements: Statements) -> None:
    """A plugin's notes on a statement are found again with the next execution."""
    assert statements.statement(b"SELECT 1") is statements.statement(bytes(bytearray(b"SELECT 1")))


def test_siblings_share_the_verdict_but_not_the_notes(statements: Statements) -> None:
    """Two texts of one shape are two statements with one hash."""
    one, other = statements.statement(b"SELECT a FROM t LIMIT 1"), statements.statement(b"SELECT a FROM t LIMIT 2")
    one.notes["x"] = 1
    assert other.notes == {}
    assert other.text == b"SELECT a FROM t LIMIT 2"
    assert other.relations == one.relations == {(None, "t")}
    assert (other.query_hash, other.shape) == (one.query_hash, "SELECT a FROM t LIMIT $1")


def test_a_setting_is_never_lent(statements: Statements) -> None:
    """Values that matter are read from each text itself."""
    statements.statement(b"SELECT set_config('a.b', 'x', false)")
    assert statements.statement(b"SELECT set_config('a.b', 'y', false)").settings[0].value == "y"


def test_annotations_come_with_the_statement(statements: Statements) -> None:
    """The server's text has no annotation any more, the statement has."""
    statement = statements.statement(b"/* @pgbeam:cache maxAge=5 */ SELECT 1 /* @pgbeam:x */")
    assert statement.text.lstrip() == b"SELECT 1 /* @pgbeam:x */"
    cache = statement.annotation("cache")
    assert cache is not None
    assert cache.parameters == {"maxage": 5}
    assert statement.reads
    assert statements.statement(statement.text).annotations == ()


def test_the_last_annotation_of_a_name_counts_and_problems_are_kept(statements: Statements) -> None:
    """A bad annotation does not spoil the good one."""
    statement = statements.statement(b"/* @pgbeam:cache maxAge=5 */ /* @pgbeam:cache maxAge=x */ SELECT 1")
    cache = statement.annotation("cache")
    assert cache is not None
    assert cache.parameters == {"maxage": 5}
    assert statement.problems == ("maxAge=x is not a whole number of seconds",)


def test_a_mark_in_a_string_is_no_annotation(statements: Statements) -> None:
    """A text that only mentions the mark is an ordinary one."""
    statement = statements.statement(b"SELECT '/* @pgbeam:cache */'")
    assert (statement.annotations, statement.kind) == ((), Kind.SELECT)


def test_memory_is_bounded_and_keeps_what_is_used() -> None:
    """Thousands of texts that come once do not push out the one that comes always."""
    statements = Statements(max_bytes=400_000)
    always = statements.statement(b"SELECT 'always'")
    for number in range(3000):
        statements.statement(f"SELECT c{number} FROM t".encode())
        if number % 20 == 0:
            assert statements.statement(b"SELECT 'always'") is always
    assert 20 < len(statements) < 200


def test_a_giant_text_is_answered_but_not_remembered() -> None:
    """One huge text does not empty the memory."""
    statements = Statements(max_bytes=100_000)
    kept = statements.statement(b"SELECT 1")
    assert statements.statement(b"SELECT '" + b"x" * 90_000 + b"'").kind is Kind.SELECT
    assert statements.statement(b"SELECT 1") is kept
    statements.clear()
    assert len(statements) == 0


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT \xff",
        b"SELECT 1\x00",
        b"SELECT '" + b"x" * (1 << 20) + b"'",
        b"SELECT " + b"f(" * 2000 + b"1" + b")" * 2000,
        b"SELECT * FROM (" * 300 + b"SELECT 1" + b") x" * 300,
        b"\xc0\x80",
        b"{call f()}",
    ],
    ids=["not utf-8", "zero byte", "giant", "deep calls", "deep sub-selects", "overlong", "odd braces"],
)
def test_what_is_beyond_understanding_gets_the_careful_verdict(statements: Statements, text: bytes) -> None:
    """Nothing raises; the verdict sends it to the primary, alone, uncached."""
    statement = statements.statement(text)
    assert statement.kind is Kind.UNKNOWN
    assert not statement.reads
    assert not statement.stable
    assert statement.writes_unknown
    assert statement.makes == {"unknown"}
    assert len(statement.query_hash) == 16


def test_moderately_deep_statements_are_understood(statements: Statements) -> None:
    """What generators of SQL really write, long chains and nested calls, is no problem."""
    for text in ("SELECT " + "a || " * 150 + "b", "SELECT " + "f(" * 80 + "1" + ")" * 80):
        assert statements.statement(text.encode()).reads
    union = statements.statement(b" UNION ALL ".join([b"SELECT x FROM t"] * 300))
    assert union.relations == {(None, "t")}


def test_the_parts_of_a_multi_text_have_their_own_verdicts(statements: Statements) -> None:
    """Each part is a statement with its own text."""
    multi = statements.statement("SELECT 'ä'; DELETE FROM t ;".encode())
    assert [(part.text.decode(), part.kind) for part in multi.parts] == [
        ("SELECT 'ä'", Kind.SELECT),
        ("DELETE FROM t", Kind.DELETE),
    ]
    assert not multi.reads
    assert multi.writes == {(None, "t")}
