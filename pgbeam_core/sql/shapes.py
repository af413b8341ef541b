"""The shape of a text: what remains when constants do not count; and SQL for people."""

from __future__ import annotations

import hashlib

import postgast
import sqlparse

from pgbeam_core.sql.bounds import bounded
from pgbeam_core.sql.scanner import tidy, tokens

_ELLIPSIS = "…"
_SHOWN_AT_MOST = 4_000
"""Characters of a text that are formatted for people; sqlparse takes a millisecond for a few hundred."""
_SHAPED_AT_MOST = 4_000
"""Characters that make a shape; longer texts are taken for alike from there on, unless they could be parsed."""
_NORMALISED_AT_MOST = 2048
_MOST_SELECTS = 8
"""Bytes and queries of a text in which libpg_query finds the constants: it takes the square of the bytes for it, and
150 µs for each query in a query."""
_TIDIED_AT_MOST = 4_000
"""Bytes of a text that are taken apart; the scanner takes a microsecond for each token."""


def shape_of(sql: bytes, *, understood: bool = True) -> tuple[str, str]:
    """(query_hash, shape): 16 hex digits equal for texts that differ in constants only, and the text with $n for them.

    A text that the grammar rejects, or that costs too much to ask it about, is taken apart by the scanner instead: any
    string or number becomes a question mark. understood=False: it is known to be of that kind.
    """
    bound = bounded(sql) if understood else None
    fingerprint = None if bound is None else _fingerprint(bound.text)
    if fingerprint is not None and _normalisable(sql):
        try:
            return fingerprint, tidy(postgast.normalize(sql.decode()))
        except (postgast.PgQueryError, UnicodeDecodeError):
            pass
    text = (sql if bound is None else bound.text)[:_SHAPED_AT_MOST].decode("utf-8", "replace")
    shape = tidy(text, fold=fingerprint is None, constants=False)
    return fingerprint or hashlib.blake2b(shape.encode(), digest_size=8).hexdigest(), shape


def _normalisable(sql: bytes) -> bool:
    return len(sql) <= _NORMALISED_AT_MOST and sql.lower().count(b"select") <= _MOST_SELECTS


def _fingerprint(sql: bytes) -> str | None:
    if b"\0" in sql:
        return None
    try:
        return str(postgast.fingerprint(sql.decode()).hex)
    except (postgast.PgQueryError, UnicodeDecodeError):
        return None


def canonical(sql: bytes) -> bytes:
    """The text with white space, comments and the case of words taken out of account, constants kept.

    Two texts with the same canonical form mean the same to one server under the same settings. A long text is its own.
    """
    if len(sql) > _TIDIED_AT_MOST:
        return sql
    return tidy(sql.decode("utf-8", "surrogateescape"), fold=True).encode("utf-8", "surrogateescape")


def pretty(sql: str, width: int) -> str:
    """One line for people, keywords in capitals, at most `width` characters wide, cut between tokens."""
    tidied = tidy(sql[:_SHOWN_AT_MOST])
    try:
        line = " ".join(sqlparse.format(tidied, keyword_case="upper").split("\n"))
    except (sqlparse.exceptions.SQLParseError, RecursionError):
        line = tidied
    if len(line) <= width:
        return line
    kept = ""
    for _, text in tokens(line):
        if len(kept) + len(text) + len(_ELLIPSIS) > width:
            break
        kept += text
    return (kept.rstrip() + _ELLIPSIS)[:width]
