"""Texts that differ in plain literals share a verdict, and only these."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbeam_core.api.statement import Statement
from pgbeam_core.sql.classify import classify
from pgbeam_core.sql.conclusions import conclude
from pgbeam_core.sql.statements import Statements
from pgbeam_core.sql.templates import TemplateModel, head, may_be_model, tells_template, template

CORPUS = Path(__file__).with_name("corpus.txt")
TEXTS = sorted({line.partition(" |")[2].strip() for line in CORPUS.read_text("utf-8").splitlines() if line[:1] != "#"})
COMPARED = [field.name for field in fields(Statement) if field.name not in ("notes", "_named_shape")]

LITERALS = st.one_of(
    st.sampled_from(
        [
            "0",
            "1",
            "42",
            "1.5",
            "99999999999999999999",
            "-7",
            ".5",
            "1.",
            "1e5",
            "0x1F",
            "1_000",
            "1a",
            "$1",
            "5.5.5",
            "'a'",
            "''",
            "'it''s'",
            "'now'",
            "' Today '",
            "'known'",
            "E'a'",
            "E'\\''",
            "e'now'",
            "U&'a'",
            "B'1'",
            "x'1F'",
            "n'x'",
            "'a\\'",
            "$$x$$",
            "$a$ now $a$",
            "'a' 'b'",
            "'n'\n'ow'",
            "'--'",
            "'/*'",
            "/* ' */ 1",
            "-- '\n1",
            '"a\'b"',
            '"now"',
            "'\"'",
            "now()",
            "NULL",
            "?",
            "'ä'",
            "ä1",
            "'%now%'",
            "'{tomorrow}'",
        ]
    ),
    st.integers(0, 10**12).map(str),
    st.text("ab '\"n;ow-/*$1.", max_size=8).map(lambda text: "'" + text.replace("'", "''") + "'"),
)
FRAMES = [
    "SELECT * FROM t WHERE a = {} AND b = {}",
    "SELECT {} x, {} FROM t",
    "SELECT {}, t1.c2 FROM t1 WHERE c3={} LIMIT 5",
    "SELECT a FROM t GROUP BY {} ORDER BY {}",
    'SELECT "q{}" FROM "it\'s" WHERE a IN ({},2)',
    "SELECT {}::date, {}::regclass",
    "INSERT INTO t (a, b) VALUES ({}, {})",
    "UPDATE t SET a = {} WHERE b < {}",
    "DELETE FROM t WHERE a = f({}) OR b = {};",
    "SELECT set_config({}, {}, false)",
    "SELECT pg_advisory_lock({}), {}",
    "SELECT date {}, interval {}",
    "SELECT a{}, b{}",
    "SELECT 1{}2, '{}",
    "SELECT a FROM t WHERE b = {} {}",
    "{} {}",
    "SELECT x::numeric({}), CAST(y AS geometry({}, 4)) FROM t",
    "SELECT DISTINCT ON ({}) a FROM t GROUP BY ROLLUP (a, {})",
    "SELECT row_number() OVER (PARTITION BY {} ORDER BY a, {}) FROM t",
    "SELECT a FROM t WHERE b IN ({}) ORDER BY c, d DESC LIMIT {}",
]


_OTHERWISE = ("text", "parts", "_cost", "_verdict", "_is_sibling")


def verdict(statement: Statement) -> dict[str, object]:
    """Everything that a verdict says, without the text and what running it has cost so far."""
    return {name: getattr(statement, name) for name in COMPARED if name not in _OTHERWISE}


def analysed(sql: bytes) -> Statement:
    """A text analysed in full."""
    return conclude(classify(sql))


def filled(frame: str, one: str, other: str) -> bytes:
    """A frame with its two holes filled."""
    return frame.replace("{}", one, 1).replace("{}", other, 1).encode()


@given(st.sampled_from(FRAMES), LITERALS, LITERALS, LITERALS, LITERALS)
@settings(max_examples=1000, deadline=None)
def test_a_lent_verdict_equals_a_full_parse(frame: str, a: str, b: str, c: str, d: str) -> None:
    """Whenever two texts share a template, what is known of the first is true of the second."""
    first, second = filled(frame, a, b), filled(frame, c, d)
    key = template(first)
    if key is None or key != template(second) or not may_be_model(analysed(first)):
        return
    parsed = analysed(second)
    if parsed.kind == "unknown":
        return  # the server rejects it too, so nothing comes of it
    found = TemplateModel(analysed(first)).sibling(second)
    assert verdict(found) == verdict(parsed)
    assert found.text == second
    assert (found.query_hash, found.shape) == (parsed.query_hash, parsed.shape)


@given(
    st.text(alphabet="ab_.$-/*\\'\" =(,;9\xe9", max_size=12) | st.sampled_from(TEXTS),
    st.from_regex(r"[0-9]{1,5}", fullmatch=True),
    st.from_regex(r"[0-9]{1,5}", fullmatch=True),
    st.sampled_from(["", ";"]),
)
@settings(max_examples=2000, deadline=None)
def test_what_stands_before_a_number_tells_the_template(start: str, one: str, other: str, end: str) -> None:
    """Where a text is told by its head, any number behind that head gives the same template."""
    first, second = ((start + number + end).encode() for number in (one, other))
    before = head(first)
    assert before is not None
    if template(first) is not None and tells_template(before):
        assert before == head(second)
        assert template(first) == template(second)


@given(st.sampled_from(TEXTS), st.randoms(use_true_random=False))
@settings(max_examples=800, deadline=None)
def test_other_literals_in_a_known_statement_change_nothing(text: str, random: object) -> None:
    """Any statement of the corpus, asked again with other numbers and strings, is judged as if parsed anew."""
    other = re.sub(r"\d+", lambda _: str(random.randint(0, 99)), text)  # type: ignore[attr-defined]
    other = other.replace("'a'", "'other'").replace("'x'", "'today'")
    statements = Statements()
    statements.statement(text.encode())
    again = statements.statement(other.encode())
    fresh = analysed(other.encode())
    if fresh.kind != "unknown":
        assert verdict(again) == verdict(fresh)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT * FROM t WHERE id = 1", "SELECT * FROM t WHERE id = 27"),
        ("SELECT * FROM t WHERE id = 1", "SELECT * FROM t WHERE id = 1.5"),
        ("SELECT * FROM t WHERE id = -1", "SELECT * FROM t WHERE id = -2"),
        ("SELECT * FROM t WHERE n = 'a'", "SELECT * FROM t WHERE n = 'it''s'"),
        ("SELECT * FROM t WHERE n = 'know'", "SELECT * FROM t WHERE n = 'snow'"),
        ("SELECT * FROM t WHERE d > now() AND i = 1", "SELECT * FROM t WHERE d > now() AND i = 2"),
        ('SELECT "t"."a1" FROM "t" WHERE "t"."id" = 1', 'SELECT "t"."a1" FROM "t" WHERE "t"."id" = 2'),
        ("INSERT INTO t VALUES (1, 'a')", "INSERT INTO t VALUES (2, 'b')"),
    ],
)
def test_siblings_share_a_template(one: str, other: str) -> None:
    """The usual texts of applications that put values into their SQL are recognised."""
    assert template(one.encode()) == template(other.encode()) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT t1.a FROM t1", "SELECT t2.a FROM t2"),
        ('SELECT "a1"', 'SELECT "a2"'),
        ('SELECT "a 1"', 'SELECT "a 2"'),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b ="),
        ("SELECT x ", "SELECT x 'a'"),
        ("SELECT E'a'", "SELECT E'b'"),
        ("SELECT x'1F'", "SELECT x'1A'"),
        ("SELECT U&'a'", "SELECT U&'b'"),
        ("SELECT 1a", "SELECT 2a"),
        ("SELECT .5", "SELECT .6"),
        ("SELECT 1e5", "SELECT 2e5"),
    ],
)
def test_what_is_no_plain_literal_counts(one: str, other: str) -> None:
    """Names, prefixed strings and odd numbers are part of the template."""
    assert template(one.encode()) != template(other.encode())


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'now'",
        "SELECT \"a'b\", 'now'",
        "SELECT 'n'\n'ow'",
        r"SELECT 'a\'",
        "SELECT $1",
        "SELECT 1 -- 2",
        "SELECT 1 /* 2 */",
        "SELECT $$a$$",
        "SELECT 'Tomorrow'",
        "SELECT " + "1," * 20000 + "1",
    ],
)
def test_what_might_count_has_no_template(text: str) -> None:
    """Clock words, escapes, dollars, comments and giants are parsed in full."""
    assert template(text.encode()) is None
