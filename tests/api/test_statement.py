"""An SQL text, analysed once: what texts that differ in literals only have in common."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pgbeam_core import Annotation, Kind, SettingAction, SettingChange, Statement
from pgbeam_core.api._bookkeeping import Cost, Verdict
from pgbeam_core.api.statement import Boundary

OWN = {
    "text",
    "parts",
    "annotations",
    "problems",
    "settings",
    "notes",
    "boundary",
    "_heard",
    "_parses",
    "_named_shape",
    "_unjudged",
    "_failed_by",
    "_with_own_parameter",
}
"""What each text has of its own, or what no text has that lends its verdict to others."""

UNUSUAL: dict[str, Any] = {
    "text": b"SELECT 1",
    "kind": Kind.UPDATE,
    "parts": (Statement(b"", Kind.EMPTY),),
    "annotations": (Annotation("cache", {}),),
    "problems": ("bad",),
    "settings": (SettingChange(SettingAction.SET, "a.b"),),
    "notes": {"a": 1},
    "boundary": Boundary("BEGIN"),
    "subject": "s",
    "_cost": Cost(),
    "_verdict": Verdict(),
    "_parses": 3,
    "_named_shape": ("0", "s"),
    "_failed_by": "x",
    "_with_own_parameter": Statement(b"", Kind.EMPTY),
    "_local": True,
}


def unusual(field: dataclasses.Field[Any]) -> Any:
    """A value of a field that is not its default."""
    if field.name in UNUSUAL:
        return UNUSUAL[field.name]
    if isinstance(field.default, bool):
        return not field.default
    assert isinstance(field.default, frozenset), f"{field.name}: say here what an unusual value is"
    return frozenset({field.name})


@pytest.mark.parametrize("field", dataclasses.fields(Statement), ids=lambda field: field.name)
def test_a_sibling_has_all_that_does_not_depend_on_literals(field: dataclasses.Field[Any]) -> None:
    """A field that is added is lent to texts that differ in literals, or is named above: none slips by another one."""
    lender = Statement(b"SELECT 1", Kind.SELECT)
    setattr(lender, field.name, unusual(field))
    found = getattr(lender.sibling(b"SELECT 2", {}), field.name)
    if field.name in OWN:
        assert found != unusual(field)
    else:
        assert found == unusual(field)


def test_a_sibling_knows_that_it_is_one() -> None:
    """It has the text and the notes that it was given."""
    notes = {"a": 1}
    found = Statement(b"SELECT 1", Kind.SELECT).sibling(b"SELECT 2", notes)
    assert (found.text, found.notes, found._is_sibling) == (b"SELECT 2", notes, True)


@pytest.mark.parametrize("text", [b"SELECT 1", "SELECT 'ä'".encode(), b"SELECT '\xff\xfe'"])
def test_a_text_as_str(text: bytes) -> None:
    """Whatever bytes it is made of, it can be looked at as a str, and goes back."""
    sql = Statement(text, Kind.SELECT).sql
    assert sql.startswith("SELECT ")
    assert sql.encode("utf-8", "surrogateescape") == text
