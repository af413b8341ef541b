"""Tokens of SQL by PostgreSQL's lexical rules, without its grammar: for texts it rejects, and to tidy the others."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NESTED = re.compile(r"/\*|\*/")
_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\n\r\f\v]+|--[^\n\r]*)
    | (?P<comment>/\*)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*+(?:'|\Z) | (?:[bBnNxX]|[uU]&)?'(?:[^']|'')*+(?:'|\Z)
        | \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?)\$(?s:.)*?(?:\$(?P=tag)\$|\Z))
    | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*+(?:"|\Z))
    | (?P<parameter>\$[0-9]+)
    | (?P<number>(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?[A-Za-z0-9_]*)
    | (?P<word>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
    | (?P<sign>(?s:.))
    """,
    re.VERBOSE,
)

Token = tuple[str, str]
"""(group, text); the groups are space, comment, string, quoted, parameter, number, word and sign."""


def tokens(sql: str) -> Iterator[Token]:
    """Cut a text into tokens that together are the text again. Open strings and comments reach to the end."""
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        assert match is not None  # `sign` takes any character
        group = "string" if match["string"] is not None else str(match.lastgroup)
        end = _comment_end(sql, match.end()) if group == "comment" else match.end()
        yield group, sql[position:end]
        position = end


def _comment_end(sql: str, position: int) -> int:
    depth = 1
    while depth:
        edge = _NESTED.search(sql, position)
        if edge is None:
            return len(sql)
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position


def tidy(sql: str, *, fold: bool = False, constants: bool = True) -> str:
    """The text on one line: comments dropped, every run of space one blank, none at the ends.

    fold: words in lower case, as PostgreSQL reads them. constants=False: strings and numbers become a question mark.
    A space that holds a line break between two strings is kept as one, because it joins them.
    """
    out: list[str] = []
    gap = ""
    for group, text in tokens(sql):
        if group in ("space", "comment"):
            broken = "\n" in text or "\r" in text or text.startswith("--")
            gap = "\n" if broken or gap == "\n" else " "
            continue
        if gap and out:
            joins = gap == "\n" and group == "string" and out[-1].endswith("'")
            out.append("\n" if joins else " ")
        gap = ""
        out.append(_spelled(group, text, fold, constants))
    return "".join(out)


def _spelled(group: str, text: str, fold: bool, constants: bool) -> str:
    if group in ("string", "number") and not constants:
        return "?"
    if group == "word" and fold:
        return "".join(letter.lower() if letter.isascii() else letter for letter in text)
    return text
