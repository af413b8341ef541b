"""Reads what is typed at the console: words, quoted names, strings; commands end with a semicolon."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<end>;)
    | "(?P<name>(?:[^"]|"")*)"
    | [eE]?'(?P<string>(?:[^']|'')*)'
    | (?P<word>[\w$.*@/:+-]+)
    | (?P<sign>[=(),]|[^\s])
    """,
    re.VERBOSE | re.DOTALL,
)


class Word(NamedTuple):
    """One word of a command. quoted: a name in double quotes or a string, which is no keyword."""

    text: str
    quoted: bool = False

    @property
    def key(self) -> str:
        """In lower case, to be compared with keywords; empty if it is none."""
        return "" if self.quoted else self.text.lower()


class ConsoleCommand(NamedTuple):
    """One command: its words, and the text as it was typed."""

    words: tuple[Word, ...]
    text: str

    @property
    def verb(self) -> str:
        return self.words[0].key

    @property
    def arguments(self) -> tuple[Word, ...]:
        return self.words[1:]


def commands(text: str) -> Iterator[ConsoleCommand]:
    """The commands of a text, empty ones left out."""
    words: list[Word] = []
    start = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "end":
            if words:
                yield ConsoleCommand(tuple(words), text[start : match.start()].strip())
            words, start = [], match.end()
        elif kind in ("name", "string"):
            quote = '"' if kind == "name" else "'"
            words.append(Word(match[kind].replace(quote * 2, quote), quoted=True))
        elif kind in ("word", "sign"):
            words.append(Word(match[0]))
    if words:
        yield ConsoleCommand(tuple(words), text[start:].strip())
