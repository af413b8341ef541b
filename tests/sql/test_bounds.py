"""Texts that are costly to parse: what is left out of them changes no verdict, and what is beyond bounds is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbeam_core.api.statement import READ_BYTES, Kind, Statement
from pgbeam_core.sql.bounds import FREE_BYTES, MOST_BYTES, MOST_TOKENS, bounded, without_lists
from pgbeam_core.sql.classify import classify
from pgbeam_core.sql.shapes import shape_of
from tests.sql.test_classify import cases

FACTS = (
    *("kind", "reads", "relations", "writes", "writes_unknown", "functions", "makes", "drops", "settings"),
    *("subject", "parts"),
)
VALUES = (
    *("1", "-2.5", "1e9", ".5", "'a'", "'it''s'", "E'a\\n'", "$1", "NULL", "true", "DEFAULT", "''", "'now'"),
    *("CURRENT_TIMESTAMP", "'x'::text", "1::int", "'{1}'::int[]", "'a'::public.mood", "'t'::regclass", "B'01'"),
)
ELEMENTS = (
    *(*VALUES, "f(1)", "now()", "a", "(SELECT b FROM c)", "1 + 1", "a.b", "(1, 'b')", "(NULL, DEFAULT, $2)", "(g(1))"),
    *("set_config('a.b', 'c', false)", "pg_advisory_lock(1, 2)", "ARRAY[1, 2, 3, 4, 5]", "'a' || 'b'", "(1)::int"),
)
FRAMES = (
    *("SELECT {}", "SELECT {} FROM t", "SELECT * FROM t WHERE a IN ({})", "SELECT * FROM t WHERE a = ANY(ARRAY[{}])"),
    *("INSERT INTO t VALUES {}", "INSERT INTO t (a, b) VALUES ({})", "VALUES {}", "SELECT f({}) FROM t"),
    *("DELETE FROM t WHERE (a, b) IN ({}) RETURNING a", "UPDATE t SET a = 1 WHERE b IN ({})", "SELECT a FROM {}, u"),
    *("WITH q AS (SELECT {}) SELECT * FROM q, r", "INSERT INTO t VALUES {} ON CONFLICT DO NOTHING RETURNING f(a)"),
    *("SET search_path = {}", "SELECT {}; SELECT 1", "EXECUTE p({})", "CALL p({})", "SELECT 1 ORDER BY {}", "{}"),
)


def lists() -> st.SearchStrategy[str]:
    """Comma-separated elements, most of them plain values in long runs."""
    run = st.tuples(st.sampled_from(ELEMENTS), st.integers(1, 9)).map(lambda pair: [pair[0]] * pair[1])
    mixed = st.lists(st.sampled_from(ELEMENTS), max_size=8)
    row = st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(lambda some: f"({', '.join(some)})")
    rows = st.tuples(row, st.integers(1, 9)).map(lambda pair: [pair[0]] * pair[1])
    parts = st.lists(st.one_of(run, mixed, rows), min_size=1, max_size=5)
    return st.tuples(parts, st.sampled_from([",", ", ", " ,\n"])).map(
        lambda pair: pair[1].join(element for part in pair[0] for element in part) or "1"
    )


def facts(statement: Statement) -> dict[str, object]:
    """What must not depend on what is left out."""
    return {name: getattr(statement, name) for name in FACTS}


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(FRAMES), lists(), lists())
def test_a_text_without_its_lists_has_the_verdict_of_the_whole(frame: str, one: str, other: str) -> None:
    """Bulk inserts and long IN lists are understood as if every value had been parsed."""
    text = frame.format(one).encode() + (b" UNION ALL SELECT " + other.encode() if frame.startswith("SELECT") else b"")
    short = without_lists(text)
    if short is None or short.text == text:
        return
    whole = classify(text)
    padded = text + b" " * (MOST_BYTES + 1 - len(text))  # only the lists make it fit
    found = classify(padded)
    if found.kind is Kind.UNKNOWN:  # careful
        return
    if whole.kind is not Kind.UNKNOWN:  # else the server rejects it, and nothing is done
        assert facts(found) == facts(whole)
        assert whole.stable or not found.stable


@pytest.mark.parametrize("text", [text for text, _ in cases()])
def test_no_statement_of_the_corpus_is_changed_by_leaving_out_its_lists(text: str) -> None:
    """What is asserted of each of them also holds where it is part of a long text."""
    short = without_lists(text.encode())
    if short is not None and short.text != text.encode():
        assert facts(classify(short.text)) == facts(classify(text.encode()))


ROWS = b", ".join(b"(%d, 'name ''%d''', NULL, 1.5, true, $%d)" % (number, number, number) for number in range(9_000))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"INSERT INTO t (a, b, c, d, e, f) VALUES " + ROWS[:300_000] + b"'')", Kind.INSERT),
        (b"INSERT INTO t (a, b, c, d, e, f) VALUES " + ROWS[: ROWS.rindex(b"(", 0, 350_000) - 2], Kind.INSERT),
        (b"SELECT * FROM t WHERE a IN (" + b",".join(b"%d" % number for number in range(50_000)) + b")", Kind.SELECT),
        (b"SELECT * FROM t WHERE a IN (" + b", ".join(b"$%d" % n for n in range(1, 40_000)) + b")", Kind.SELECT),
        (b"SELECT * FROM t WHERE a IN (" + b",\n".join([b"'x-%d'" % n for n in range(20_000)]) + b")", Kind.SELECT),
        (b"INSERT INTO t VALUES " + b", ".join([b"(1, now())"] * 20_000), Kind.UNKNOWN),
        (b"SELECT '" + b"a" * 100_000 + b"'", Kind.SELECT),
        (b"SELECT '" + b"a" * READ_BYTES + b"'", Kind.UNKNOWN),
        (b"SELECT 1" + b" + 1" * MOST_TOKENS, Kind.UNKNOWN),
        (b"COMMIT" + b" /* */" * MOST_TOKENS, Kind.UNKNOWN),
        (b"SELECT 1;" * 100, Kind.MULTI),
        (b"SELECT 1;" * 1000, Kind.UNKNOWN),
    ],
    ids=range(12),
)
def test_ordinary_large_texts_are_understood_and_costly_ones_unknown(text: bytes, kind: Kind) -> None:
    """Whoever sends thousands of rows or ids in one statement does not empty the cache with it."""
    found = classify(text)
    assert found.kind is kind
    if kind is Kind.INSERT:
        assert found.writes == {(None, "t")}
        assert not found.writes_unknown
        assert not found.makes
    if kind is Kind.UNKNOWN:
        assert found.writes_unknown
        assert found.makes == {"unknown"}


def test_a_list_that_might_mean_now_makes_a_read_unstable() -> None:
    """A reply that depends on the day is not remembered, wherever among thousands of values the word stands."""
    values = [b"'2024-01-%02d'" % (number % 28 + 1) for number in range(30_000)]
    text = b"SELECT * FROM t WHERE d IN (%b)"
    assert classify(text % b",".join(values)).stable is False  # too many to look for it
    assert classify(text % b",".join(values[:9_000])).stable
    values[5_000] = b"'tomorrow'"
    assert not classify(text % b",".join(values[:9_000])).stable


@pytest.mark.parametrize(
    "trick",
    [
        b"SELECT E'a'\n'\\'' {} ''",
        b"SELECT '\\' {} '",
        b"SELECT $a$ $b$ $a$ {} $a$ $a$",
        b"SELECT /* /* */ ' */ {} /* ' */",
        b"SELECT a$b$ {} $b$",
        b"SELECT 1 --\r{}\n",
        b"SELECT U&'' {} ''",
        b'SELECT "a""" {} "b"',
        b"SELECT 1 <!--{}\n",
        b"SELECT $1$a$ {} $a$",
        b"SELECT $\xc3\xa9$ ' $\xc3\xa9$ {}",
    ],
)
def test_no_string_or_comment_hides_tokens_from_being_counted(trick: bytes) -> None:
    """Where the lexer sees operators by the thousand, they are counted, whatever quotes stand around them."""
    for filling in (b"+1" * 40_000, b"'+1" * 20_001, b"*/+1" * 20_000, b'"+1' * 20_000, b"$a$+1" * 20_000):
        bound = bounded(trick.replace(b"{}", filling))
        assert bound is None or classify(bound.text).kind is not Kind.EMPTY  # a crash would end the run


def test_the_shape_of_a_long_list_is_that_of_a_short_one() -> None:
    """Statistics and rules know a query whatever the number of its values."""
    few = b"SELECT * FROM t WHERE a IN (" + b", ".join([b"1"] * 10) + b")"
    many = b"SELECT * FROM t WHERE a IN (" + b", ".join([b"1"] * 100_000) + b")"
    assert shape_of(few)[0] == shape_of(many)[0]
    assert len(many) < READ_BYTES
    assert len(few) < FREE_BYTES
