"""A cheap key that texts share when they differ in plain numbers and plain strings only."""

from __future__ import annotations

import re

from pgbeam_core.query import Kind, Statement
from pgbeam_core.sql.clock import may_mention_clock, mentions_clock

MAX_BYTES = 16 * 1024
"""Longer texts are rarely siblings."""

_HOLE = b"\0"  # no text has it: the server ends a text there
_END = b";"
_ODD = (b"\\", b"$", b"--", b"/*", _HOLE)

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
_QUOTED = re.compile(rb"""\"[^"]*+"|'[^']*+(?:''[^']*+)*+'""")
_ADJACENT = re.compile(rb"\0\s*+\0")
_KEPT_CONSTANT = re.compile(r"(?<![\w$])[0-9]|'")
_KINDS = frozenset({Kind.SELECT, Kind.INSERT, Kind.UPDATE, Kind.DELETE})


def template(sql: bytes) -> bytes | None:
    """The text with plain literals as holes; None when a literal might count, so that only a full parse will do."""
    if len(sql) > MAX_BYTES or any(odd in sql for odd in _ODD):
        return None
    if may_mention_clock(sql) and any(mentions_clock(quoted) for quoted in _QUOTED.findall(sql)):
        return None
    # The mark at the end tells a text that ends with a literal from one that ends before it.
    key = _HOLE.join(_PARTS.findall(sql + _END))
    # Strings on two lines are one string, which might spell a word that counts.
    return None if _ADJACENT.search(key) else key


def lends(statement: Statement) -> bool:
    """Whether a verdict holds for every text of the same template."""
    return statement.kind in _KINDS and not statement.settings and not statement.makes and not statement.drops


def sibling(statement: Statement, text: bytes) -> Statement:
    """The verdict on another text of the same template; `notes` start empty."""
    found = Statement(
        text,
        statement.kind,
        reads=statement.reads,
        stable=statement.stable,
        relations=statement.relations,
        writes=statement.writes,
        writes_unknown=statement.writes_unknown,
        functions=statement.functions,
    )
    shape = statement.query_hash, statement.shape
    # ORDER BY 1 keeps its number in the shape, so siblings may have shapes of their own.
    if not _KEPT_CONSTANT.search(shape[1]):
        found._shape = shape
    return found
