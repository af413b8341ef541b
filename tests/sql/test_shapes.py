"""Shapes are equal for texts that differ in constants only; people see them tidy."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.sql.scanner import tidy, tokens
from pgbeam_core.sql.shapes import canonical, pretty, shape_of


def test_a_shape_has_no_constants_comments_or_line_breaks() -> None:
    """One line, $n for every constant."""
    query_hash, shape = shape_of(b"SELECT a, /* c */ 'x'\n  FROM t -- d\n WHERE b = 5")
    assert shape == "SELECT a, $1 FROM t WHERE b = $2"
    assert re.fullmatch("[0-9a-f]{16}", query_hash)
    assert shape_of(b"select a, 'y' from t where b = 77")[0] == query_hash


@pytest.mark.parametrize(
    "text", [b"ALTER ROLE r PASSWORD 'secret'", b"SET x = 'secret'", b"SELEC 'secret", b"X \xff 'secret'"]
)
def test_no_secret_is_in_a_shape(text: bytes) -> None:
    """Shapes are shown and stored, so a constant never stands in one, whether the text is understood or not."""
    assert "secret" not in shape_of(text)[1]


def test_rejected_texts_have_shapes_too() -> None:
    """Texts that the grammar rejects are told apart by all but their constants."""
    one, other = shape_of(b"{call  f(1, 'a')}"), shape_of(b"{CALL f(2, 'b')}")
    assert one == other
    assert one[1] == "{call f(?, ?)}"
    assert shape_of(b"{call g(1, 'a')}")[0] != one[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT  A\nFROM t", "select a from T"),
        ("SELECT 1 /* x */ + 2", "SELECT 1 + 2 -- y"),
        (" SELECT 'A  b' ", "SELECT 'A  b'"),
        ("SELECT 'a' \n\n 'b'", "select 'a'\n'b'"),
        ("SELECT $$ a $$", "SELECT   $$ a $$"),
    ],
)
def test_white_space_comments_and_case_do_not_matter(one: str, other: str) -> None:
    """Texts that mean the same have one canonical form."""
    assert canonical(one.encode()) == canonical(other.encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT 'a'", "SELECT 'A'"),
        ('SELECT "a"', 'SELECT "A"'),
        ("SELECT 'a  b'", "SELECT 'a b'"),
        ("SELECT 1", "SELECT 2"),
        ("SELECT $$a$$", "SELECT $$A$$"),
        ("SELECT 'a'\n'b'", "SELECT 'a' 'b'"),
        ("SELECT 1 -1", "SELECT 1 - -1"),
        ("SELECT a b", "SELECT ab"),
        ("SELECT '-- x'", "SELECT ''"),
    ],
)
def test_what_makes_a_difference_stays(one: str, other: str) -> None:
    """Texts that may mean different things never share a canonical form."""
    assert canonical(one.encode()) != canonical(other.encode())


def test_bytes_that_are_no_utf8_survive() -> None:
    """Another encoding's letters are kept as they are."""
    assert canonical(b"SELECT  '\xff\xe4'") == b"select '\xff\xe4'"


@given(st.text("aE'\"$\\-/*\n 1.;bU&x", max_size=40))
def test_tokens_are_the_text_again(text: str) -> None:
    """Whatever is thrown at the scanner, nothing is lost, and tidying twice is tidying once."""
    assert "".join(token for _, token in tokens(text)) == text
    assert tidy(tidy(text)) == tidy(text)


def test_people_see_capitals_cut_between_tokens() -> None:
    """A shape in a table is never wider than its column, and never cut inside a word."""
    assert pretty("select  a\nfrom t", 80) == "SELECT a FROM t"
    assert pretty("select alpha, beta from gamma", 18) == "SELECT alpha,…"
    assert pretty("select '" + "x" * 100_000 + "'", 20) == "SELECT…"
    for width in range(1, 40):
        assert len(pretty("select alpha, beta from gamma where x = 'long string'", width)) <= width
