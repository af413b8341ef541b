"""What a text may cost before the grammar sees it: bytes, tokens, and long lists of plain values left out.

libpg_query walks its tree by recursion and knows no limit, its lexer is quadratic in runs of operator characters, and
the tree of a text takes a hundred times its bytes. So a text is measured first, by regular expressions that never go
back: what they count is at least what the lexer finds. Short texts are cheap whatever they hold.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from pgbeam_core.api.statement import READ_BYTES

FREE_BYTES = 1024
"""Texts up to here are parsed as they are: the worst of them takes 1.5 ms and 350 kB of stack."""
MOST_TOKENS = 3000
"""Tokens that are parsed: the worst text takes 5 ms and 500 kB of stack, of the 8 MB that a thread has."""
MOST_BYTES = 128 * 1024
"""Bytes of these tokens, most of which are one string then."""

_KEPT_BYTES = 32 * 1024
"""Bytes that remain of a text without its lists."""
_MOST_LISTS = 1024
"""Runs of values that are left out of one text."""
_SIGN = rb"[-+*/<>=~!@\#%^&|`?]"
_STRING = rb"'[^']*+(?:''[^']*+)*+'"
_NAME = rb"[A-Za-z_\x80-\xff][0-9A-Za-z_\x80-\xff]*+"
# An operator has at most 63 characters. A comment in a comment, or one with an operator glued to its end, is not taken.
_TOKEN = rb"""(?:
    [0-9A-Za-z_\x80-\xff][0-9A-Za-z_$\x80-\xff]*+
  | [.():;\[\]{}]
  | COMMA
  | STRING
  | "[^"]*+"
  | --[^\n\r]*+
  | (?:(?!--|/\*)SIGN){1,63}+(?!(?!--|/\*)SIGN)
  | /\*(?:[^*/]++|\*++(?!/)|/++(?!\*))*+\*++/(?!SIGN)
  | \$[0-9]++
  | \$(?P<tag>(?:NAME)?+)\$(?:[^$]++|\$(?!(?P=tag)\$))*+\$(?P=tag)\$
) \s*+"""
# A plain value: a number, a string, a parameter or a word, perhaps cast.
_VALUE = rb"""
    (?:[-+]\s*+)?+
    (?: [0-9]++(?:\.[0-9]*+)?+(?:[eE][-+]?[0-9]++)?+
      | \.[0-9]++
      | [eEnNbBxX]?+STRING
      | \$[0-9]++
      | (?i:null|true|false|default|current_timestamp|current_date|current_time|localtimestamp|localtime)
        (?![\w$\x80-\xff(])
    )
    (?:::NAME(?:\.NAME)?+(?:\([0-9,\s]*+\))?+(?:\[[0-9]*+\])*+)*+
    \s*+
"""
# The most frequent ones, in fewer steps.
_SHORT = rb"(?:\$?+[0-9]++|'[^']*+'|NULL)"
# A value or a row of values that is a whole element of the list in which it stands.
_ELEMENT = rb"""(?:
    ,\s*+ (?:SHORT|\(SHORT(?:,[ ]?+SHORT)*+\)) (?=[,)])
  | ,\s*+ (?:VALUE|\(\s*+VALUE(?:,\s*+VALUE)*+\)\s*+) (?=[,);\]]|\Z)
)"""


_NAMED = {
    b"ELEMENT": _ELEMENT,
    b"SHORT": _SHORT,
    b"VALUE": _VALUE,
    b"STRING": _STRING,
    b"SIGN": _SIGN,
    b"NAME": _NAME,
}
"""Each may hold those below it."""


def _pattern(source: bytes) -> re.Pattern[bytes]:
    for name, meaning in _NAMED.items():
        source = source.replace(name, meaning)
    return re.compile(source, re.VERBOSE)


_FITS = _pattern(rb"\s*+(?:" + _TOKEN.replace(b"COMMA", b",") + rb"){0,%d}+\Z" % MOST_TOKENS)
_KEPT_AND_LEFT_OUT = _pattern(
    rb"(?P<kept>\s*+(?:" + _TOKEN.replace(b"COMMA", b"(?!ELEMENT{4}),") + rb"){0,%d}+)(?P<left>ELEMENT*+)" % MOST_TOKENS
)
_CHANGING = tuple(rb"\ now today tomorrow yesterday current local reg time date range".split())
"""What is in values whose meaning changes with time or session: words, escapes that might spell them, casts."""


_CAST = re.compile(rb"(?<=['\w])::[A-Za-z_\x80-\xff][\w.\x80-\xff]*+")


class Bounded(NamedTuple):
    """A text that may be parsed. left_out: what is not in it of the text that was given."""

    text: bytes
    left_out: tuple[bytes, ...] = ()

    @property
    def names_all_types(self) -> bool:
        """Whether the types of casts that were left out stand in the rest too."""
        casts = {cast for part in self.left_out if b"::" in part for cast in _CAST.findall(part)}
        return all(cast in self.text for cast in casts)

    @property
    def changing(self) -> bool:
        """Whether a value that was left out might mean the present moment, or hang on the catalog."""
        left_out = b"".join(self.left_out)
        if len(left_out) > MOST_BYTES:
            return True
        lowered = left_out.lower()
        return any(word in lowered for word in _CHANGING)


def bounded(sql: bytes) -> Bounded | None:
    """What to parse instead of a text, so that it ends in bounded time; None when it would cost too much.

    Of a list of values or of rows of values only the first few remain. What is left out holds no relation, no function
    but those of the clock, and nothing that acts: whatever else the tree tells of the text, it tells of the rest.
    """
    size = len(sql)
    if size <= FREE_BYTES:
        return Bounded(sql)
    # Where a string ends must not hang on standard_conforming_strings, nor on how it began.
    if size > READ_BYTES or b"\\'" in sql:
        return None
    if size <= MOST_BYTES and _FITS.match(sql) is not None:
        return Bounded(sql)
    return without_lists(sql)


@lru_cache(maxsize=1)  # who asks for the verdict may ask for the shape next
def without_lists(sql: bytes) -> Bounded | None:
    """A text without its long lists of values, for `bounded`; None when even that is too much."""
    kept: list[bytes] = []
    left_out: list[bytes] = []
    position = size = 0
    for _ in range(_MOST_LISTS):
        step = _KEPT_AND_LEFT_OUT.match(sql, position)
        assert step is not None  # nothing matches too
        kept.append(step["kept"])
        left_out.append(step["left"])
        size += len(kept[-1])
        if step.end() == position or size > _KEPT_BYTES:
            return None
        position = step.end()
        if position == len(sql):
            found = Bounded(b"".join(kept), tuple(left_out))
            return found if _FITS.match(found.text) is not None and found.names_all_types else None
    return None
