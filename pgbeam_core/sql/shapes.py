"""The shape of a text: what remains when constants do not count; and SQL for people."""

from __future__ import annotations

import hashlib

import postgast
import sqlparse

from pgbeam_core.sql.scanner import tidy, tokens
from pgbeam_core.sql.tree import MAX_BYTES

_ELLIPSIS = "…"
_SHOWN_AT_MOST = 4_000
"""Characters of a text that are formatted for people; sqlparse takes a millisecond for a few hundred."""
_SHAPED_AT_MOST = 50_000
"""Characters of a shape that are kept; longer ones are bulk inserts, alike from there on."""


def shape_of(sql: bytes) -> tuple[str, str]:
    """(query_hash, shape): 16 hex digits equal for texts that differ in constants only, and the text with $n for them.

    A text that the grammar rejects is taken apart by the scanner instead: any string or number becomes a question mark.
    """
    text = sql.decode("utf-8", "replace")
    if len(sql) <= MAX_BYTES and "\0" not in text and "\ufffd" not in text:
        try:
            return postgast.fingerprint(text).hex, tidy(postgast.normalize(text)[:_SHAPED_AT_MOST])
        except (postgast.PgQueryError, UnicodeDecodeError):
            pass
    shape = tidy(text[:_SHAPED_AT_MOST], fold=True, constants=False)
    return hashlib.blake2b(shape.encode(), digest_size=8).hexdigest(), shape


def canonical(sql: bytes) -> bytes:
    """The text with white space, comments and the case of words taken out of account, constants kept.

    Two texts with the same canonical form mean the same to one server under the same settings.
    """
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
