"""What a statement's text tells: may a replica answer it, and does it write?"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from pgbeam_core import Kind, Name, Statement

_HARMLESS = frozenset(
    {
        Kind.BEGIN,
        Kind.CLOSE,
        Kind.COMMIT,
        Kind.DEALLOCATE,
        Kind.DISCARD,
        Kind.EMPTY,
        Kind.LISTEN,
        Kind.RELEASE,
        Kind.RESET,
        Kind.ROLLBACK,
        Kind.ROLLBACK_TO,
        Kind.SAVEPOINT,
        Kind.SET,
        Kind.SHOW,
        Kind.UNLISTEN,
    }
)
"""Kinds that change no data; COMMIT only makes the writes before it count."""

_PERHAPS = frozenset({"function"})
"""What a call of the user's own function makes: state, perhaps."""


def _load() -> frozenset[str]:
    lines = files("pgbeam_replica").joinpath("functions.txt").read_text("utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("# "))


_ONLY_READ = _load()


@dataclass(slots=True, frozen=True)
class ReadingNote:
    """What is noted on a statement.

    asked: annotated, and nothing that must run on the primary. unasked: it may be read on a replica without that.
    writes: it may change data.
    """

    asked: bool
    unasked: bool
    writes: bool


def reading(statement: Statement) -> ReadingNote:
    """Judge a statement. A function that is not known to only read may write; who annotates vouches for it."""
    leaves_state = statement.settings or statement.drops or statement.makes - _PERHAPS
    reads = statement.kind is Kind.SELECT and statement.reads and not leaves_state
    only_reads = reads and all(_only_reads(name) for name in statement.functions)
    return ReadingNote(
        asked=reads and statement.annotation("replica") is not None,
        unasked=only_reads and not any(_is_catalog(name) for name in statement.relations),
        writes=not only_reads and statement.kind not in _HARMLESS,
    )


def _only_reads(name: Name) -> bool:
    schema, word = name
    return schema in (None, "pg_catalog") and word in _ONLY_READ


def _is_catalog(name: Name) -> bool:
    """Catalogs and statistics tell about one server, and about DDL that a replica may not have seen."""
    schema, word = name
    return schema in ("pg_catalog", "information_schema") or (schema is None and word.startswith("pg_"))
