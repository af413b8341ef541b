"""A cheap key that texts share when they differ in plain numbers and plain strings only."""

from __future__ import annotations

import re

from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.sql.clock import may_mention_clock, mentions_clock
from pgbeam_core.sql.conclusions import shows_a_setting

MAX_BYTES = 16 * 1024
"""Longer texts are rarely siblings."""

_HOLE = b"\0"  # no text has it: the server ends a text there
_END = b";"

# Each match is what is kept, then a literal or the end. Only the parts kept are captured. A quote or digit that is no
# plain literal (a prefix as in E'', digits glued to letters or points) sends the rest of the text into the key as it
# stands: the key is then that text's own, and shares nothing.
_PARTS = re.compile(
    rb"""
    ((?:
        [^'"0-9A-Za-z_.\x80-\xff]++                                  # space, operators, brackets
      | [A-Za-z_\x80-\xff][0-9A-Za-z_\x80-\xff]*+(?!['"&])           # a word that prefixes no quote
      | "[^"]*+"(?!["'&])
      | \.(?![0-9])
     )*+
     (?:(?!(?:'[^']*+(?:''[^']*+)*+'|[0-9]++(?:\.[0-9]++)?+(?![0-9A-Za-z_.\x80-\xff'"]))|\Z).++)?+
    )
    (?:'[^']*+(?:''[^']*+)*+'|[0-9]++(?:\.[0-9]++)?+)?+
    """,
    re.VERBOSE | re.DOTALL,
)
# Where nothing is quoted, a number stands for itself unless it is glued to a letter or a point.
# The digit comes before what may not stand ahead of it: from digit to digit, the search is twice as fast.
_NUMBER = re.compile(rb"[0-9](?<![0-9A-Za-z_.\x80-\xff].)[0-9]*+(?:\.[0-9]++)?+(?![0-9A-Za-z_.\x80-\xff])", re.DOTALL)
_DIGITS = b"0123456789"
_ENDS_GLUED = re.compile(rb"[0-9A-Za-z_.\x80-\xff]\Z")
_QUOTED = re.compile(rb"""\"[^"]*+"|'[^']*+(?:''[^']*+)*+'""")
_ADJACENT = re.compile(rb"\0\s*+\0")
# Where a whole number stays in the shape (ORDER BY 1, numeric(10, 2)) while another literal becomes $n: a constant that
# was kept, or a $n that might have been one. Then each sibling has a shape of its own.
_OWN_SHAPE = re.compile(
    r"""(?<![\w$])[0-9] | ' | \bby\b(?:.*[,(]|\s)\s*-?\$ | \bon\s*\(.*\$ | ::[\s\w."]+\(.*\$ | \bas\s[\s\w."]+\(.*\$""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_SHARED_AT_MOST = 4_000
"""Characters of a shape that siblings may share; the search above is quadratic at worst."""
_KINDS = frozenset({Kind.SELECT, Kind.INSERT, Kind.UPDATE, Kind.DELETE})
_CALLS = frozenset({"function"})
"""Calling functions of the users' own makes what it makes whatever the literals are."""


def template(sql: bytes) -> bytes | None:
    """The text with plain literals as holes; None when a literal might count, so that only a full parse will do."""
    if len(sql) > MAX_BYTES or b"\\" in sql or b"$" in sql or b"--" in sql or b"/*" in sql or _HOLE in sql:
        return None
    if b"'" not in sql and b'"' not in sql:
        return _NUMBER.sub(_HOLE, sql)
    if may_mention_clock(sql) and any(mentions_clock(quoted) for quoted in _QUOTED.findall(sql)):
        return None
    # The mark at the end tells a text that ends with a literal from one that ends before it.
    key = _HOLE.join(_PARTS.findall(sql + _END))
    # Strings on two lines are one string, which might spell a word that counts.
    return None if _ADJACENT.search(key) else key


def head(sql: bytes) -> bytes | None:
    """What stands before the whole number with which a text ends (but for a semicolon), if one does."""
    body = sql[:-1] if sql.endswith(_END) else sql
    found = body.rstrip(_DIGITS)
    return found if len(found) < len(body) else None


def tells_template(start: bytes) -> bool:
    """Whether the number behind such a head, in a text that has a template, is a plain literal whatever it is."""
    return b"'" not in start and b'"' not in start and _ENDS_GLUED.match(start, len(start) - 1) is None


def may_be_model(statement: Statement) -> bool:
    """Whether what is found of this statement holds for every text of the same template."""
    if statement.kind not in _KINDS or shows_a_setting(statement):
        return False
    return not statement.settings and statement.makes <= _CALLS and not statement.drops


class TemplateModel:
    """The first statement of a template: its verdict is that of the others."""

    __slots__ = ("_notes", "_shape", "_shape_known", "_statement")

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        # As they are now: what is noted on the first text later is about that text.
        self._notes = dict(statement.notes)
        self._shape: tuple[str, str] | None = None
        self._shape_known = False

    def sibling(self, text: bytes) -> Statement:
        """The verdict on another text of the template."""
        found = self._statement.sibling(text, self._notes.copy())
        if not self._shape_known:
            self._learn_shape()
        found._named_shape = self._shape
        return found

    def _learn_shape(self) -> None:
        shape = self._statement.shape
        self._shape = (
            None if len(shape) > _SHARED_AT_MOST or _OWN_SHAPE.search(shape) else (self._statement.query_hash, shape)
        )
        self._shape_known = True
