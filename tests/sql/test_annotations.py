"""Comments meant for PgBeam are read and taken out; everything else stays."""

from __future__ import annotations

import pytest

from pgbeam_core.sql.annotations import annotate


def found(text: str) -> list[tuple[str, dict[str, int | None]]]:
    """(name, parameters) of each annotation."""
    _, annotations, _ = annotate(text.encode())
    return [(one.name, dict(one.parameters)) for one in annotations]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/* @pgbeam:cache */ SELECT 1", [("cache", {})]),
        ("/*@pgbeam:cache*/SELECT 1", [("cache", {})]),
        ("/* @pgbeam:cache maxAge=300 */ SELECT 1", [("cache", {"maxage": 300})]),
        ("/* @pgbeam:cache MAXAGE=300 sWr=10 */ SELECT 1", [("cache", {"maxage": 300, "swr": 10})]),
        ("/* @pgbeam:cache noCache */ SELECT 1", [("cache", {"nocache": None})]),
        ("/* @pgbeam:cache maxAge=1 maxAge=2 */ SELECT 1", [("cache", {"maxage": 2})]),
        ("/* @pgbeam:cache\n\tmaxAge=0 */\nSELECT 1", [("cache", {"maxage": 0})]),
        ("/* @pgbeam:replica */ SELECT 1", [("replica", {})]),
        ("/* @pgbeam:REPLICA */ SELECT 1", [("replica", {})]),
        ("/* @pgbeam:cache */ /* @pgbeam:replica */ SELECT 1", [("cache", {}), ("replica", {})]),
        ("/* @pgbeam:cache maxAge=5 @pgbeam:replica */ SELECT 1", [("cache", {"maxage": 5}), ("replica", {})]),
        ("-- app\n/* route=x */ /* @pgbeam:replica */ SELECT 1", [("replica", {})]),
        ("( /* @pgbeam:cache */ SELECT 1)", [("cache", {})]),
    ],
)
def test_annotations_before_the_first_keyword_are_read(text: str, expected: list[object]) -> None:
    """An application may write them in any usual way."""
    assert found(text) == expected
    assert annotate(text.encode())[2] == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/* @pgbeam:cache maxAge=abc */ SELECT 1", "maxAge=abc is not a whole number of seconds"),
        ("/* @pgbeam:cache maxage=-1 */ SELECT 1", "maxAge=-1 is not a whole number of seconds"),
        ("/* @pgbeam:cache maxAge=1.5 */ SELECT 1", "maxAge=1.5 is not a whole number of seconds"),
        ("/* @pgbeam:cache maxAge= */ SELECT 1", "maxAge= is not a whole number of seconds"),
        ("/* @pgbeam:cache maxAge=9999999999 */ SELECT 1", "maxAge=9999999999 is not a whole number of seconds"),
        ("/* @pgbeam:cache maxAge=² */ SELECT 1", "maxAge=² is not a whole number of seconds"),
        ("/* @pgbeam:cache swr */ SELECT 1", "swr needs a whole number of seconds"),
        ("/* @pgbeam:cache noCache=1 */ SELECT 1", "noCache takes no value"),
        ("/* @pgbeam:cache ttl=1 */ SELECT 1", 'unknown word "ttl" in annotation "cache"'),
        ("/* @pgbeam:replica first */ SELECT 1", 'unknown word "first" in annotation "replica"'),
        ("/* @pgbeam:cachee */ SELECT 1", 'unknown annotation "cachee"'),
        ("/* @pgbeam: */ SELECT 1", "annotation without a name"),
    ],
)
def test_a_malformed_annotation_is_ignored_and_explained(text: str, problem: str) -> None:
    """A slip of the pen never fails the query, and a debug notice can say what was wrong."""
    left, annotations, problems = annotate(text.encode())
    assert (left, annotations, problems) == (b"SELECT 1".rjust(len(text.encode())), (), (problem,))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/* @pgbeam:cache */ SELECT 1", "SELECT 1"),
        ("/* a */ /* @pgbeam:cache */ SELECT 1", "/* a */ SELECT 1"),
        ("/* a *//* @pgbeam:cache *//* b */SELECT 1", "/* a *//* b */SELECT 1"),
        ("-- a\n/* @pgbeam:cache */\nSELECT 1", "-- a\nSELECT 1"),
        ("\n  /* @pgbeam:cache */\n  SELECT 1 /* @pgbeam:replica */", "\n  SELECT 1 /* @pgbeam:replica */"),
        ("(/* @pgbeam:cache */ SELECT 1)", "(SELECT 1)"),
        ("/* @pgbeam:cache */", ""),
        ("/* @pgbeam:cache /* inner */ */ SELECT 1", "SELECT 1"),
    ],
)
def test_only_annotations_are_taken_out(text: str, left: str) -> None:
    """The server sees the client's text without the annotations, other comments included."""
    seen = annotate(text.encode())[0].decode()
    assert "".join(seen.split()) == "".join(left.split())
    assert len(seen) == len(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT /* @pgbeam:cache */ 1",
        "SELECT 1 /* @pgbeam:cache */",
        "SELECT '/* @pgbeam:cache */'",
        "'/* @pgbeam:cache */' SELECT",
        'SELECT "/* @pgbeam:cache */"',
        "SELECT $$/* @pgbeam:cache */$$",
        "/* /* @pgbeam:cache */ */ SELECT 1",
        "/* a @pgbeam:cache */ SELECT 1",
        "-- /* @pgbeam:cache */\nSELECT 1",
        "/* @PGBEAM:cache */ SELECT 1",
        "/* @pgbeam:cache SELECT 1",
        "/* @pgbeam:cache /* */ SELECT 1",
        "*/ /* @pgbeam:cache */ SELECT 1",
    ],
)
def test_what_is_no_annotation_is_not_touched(text: str) -> None:
    """Strings, names, nested comments, and whatever follows the first keyword belong to the application."""
    assert annotate(text.encode()) == (text.encode(), (), ())


def test_other_annotations_can_be_made_known() -> None:
    """A plugin's own annotation is read once its words are in the vocabulary."""
    _, annotations, problems = annotate(b"/* @pgbeam:audit level=3 */ SELECT 1", {"audit": {"level": True}})
    assert [(one.name, dict(one.parameters)) for one in annotations] == [("audit", {"level": 3})]
    assert problems == ()
