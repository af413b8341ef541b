"""Comments meant for PgBeam: /* @pgbeam:cache maxAge=300 swr=10 */ before the first keyword."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from pgbeam_core.api.statement import Annotation

MARK = b"@pgbeam:"

Vocabulary = Mapping[str, Mapping[str, bool]]
"""Annotation names to their parameters' names, each with whether it takes a whole number of seconds."""

VOCABULARY: Vocabulary = MappingProxyType(
    {"cache": {"maxAge": True, "swr": True, "noCache": False}, "replica": {}, "explain": {}}
)

HEAD_BYTES = 4096
"""Comments that end behind so many bytes of a text are not read."""

_LONGEST_NUMBER = 9
_MOST_PROBLEMS = 20
_SHOWN_AT_MOST = 60
"""Characters of a word that are shown in a problem."""
# What may stand before the first keyword: space, opening parentheses, semicolons, comments to the end of a line.
_FILLING = re.compile(rb"(?:[\s(;]++|--[^\n\r]*+)*+")
_COMMENT_EDGE = re.compile(rb"/\*|\*/")


def annotate(sql: bytes, vocabulary: Vocabulary = VOCABULARY) -> tuple[bytes, tuple[Annotation, ...], tuple[str, ...]]:
    """(what the server shall see, annotations, problems in words).

    Comments that start with the mark become as much blank space, so that positions in the server's error messages still
    hold; everything else stays as it is.
    """
    if sql.find(MARK, 0, HEAD_BYTES) < 0:
        return sql, (), ()
    kept: list[bytes] = []
    annotations: list[Annotation] = []
    problems: list[str] = []
    position = start = 0
    while True:
        opening = _FILLING.match(sql, position, HEAD_BYTES).end()  # type: ignore[union-attr]
        position = _comment_end(sql, opening)
        if position == opening:
            break
        body = sql[opening + 2 : position - 2].strip()
        if body.startswith(MARK):
            _read(body.decode("utf-8", "replace"), vocabulary, annotations, problems)
            kept += [sql[start:opening], b" " * (position - opening)]
            start = position
    kept.append(sql[start:])
    return b"".join(kept), tuple(annotations), tuple(problems[:_MOST_PROBLEMS])


def _comment_end(sql: bytes, opening: int) -> int:
    """Where the block comment that starts at `opening` ends, comments in it included; `opening` if there is none."""
    depth, position = 0, opening
    while edge := _edge(sql, position, first=not depth):
        depth += 1 if edge[0] == b"/*" else -1
        position = edge.end()
        if depth <= 0:
            return position if depth == 0 else opening
    return opening


def _edge(sql: bytes, position: int, *, first: bool) -> re.Match[bytes] | None:
    """Where the next comment in what is read starts or ends; the first one right here."""
    find = _COMMENT_EDGE.match if first else _COMMENT_EDGE.search
    return find(sql, position, HEAD_BYTES)


def _read(body: str, vocabulary: Vocabulary, annotations: list[Annotation], problems: list[str]) -> None:
    """Read one comment; several annotations may stand in it one after another."""
    mark = MARK.decode()
    for text in body.split(mark)[1:]:
        name, *words = text.split() or [""]
        name = name.lower()
        if name not in vocabulary:
            problems.append(f'unknown annotation "{name[:_SHOWN_AT_MOST]}"' if name else "annotation without a name")
            continue
        parameters: dict[str, int | None] = {}
        found = [problem for word in words if (problem := _parameter(name, word, vocabulary[name], parameters))]
        problems += found
        if not found:
            annotations.append(Annotation(name, MappingProxyType(parameters)))


def _parameter(name: str, word: str, known: Mapping[str, bool], parameters: dict[str, int | None]) -> str | None:
    """Put one `key=value` or `word` among the parameters, or say what is wrong with it."""
    key, equals, value = word.partition("=")
    spelled = {parameter.lower(): parameter for parameter in known}.get(key.lower())
    if spelled is None:
        return f'unknown word "{key[:_SHOWN_AT_MOST]}" in annotation "{name}"'
    if not known[spelled]:
        if equals:
            return f"{spelled} takes no value"
        parameters[spelled.lower()] = None
    elif not equals:
        return f"{spelled} needs a whole number of seconds"
    elif not (value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER):
        return f"{spelled}={value[:_SHOWN_AT_MOST]} is not a whole number of seconds"
    else:
        parameters[spelled.lower()] = int(value)
    return None
