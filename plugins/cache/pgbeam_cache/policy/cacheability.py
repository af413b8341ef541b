"""What the text of a statement alone says to the cache. Found once for all texts of a template."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from pgbeam_cache.settings import NAME
from pgbeam_core import Annotation, Catalog, Kind, Statement

_CURSORS = frozenset({Kind.DECLARE, Kind.FETCH, Kind.CLOSE})
_TRANSACTIONS = frozenset(
    {Kind.BEGIN, Kind.COMMIT, Kind.ROLLBACK, Kind.SAVEPOINT, Kind.RELEASE, Kind.ROLLBACK_TO, Kind.TWO_PHASE}
)
_WRITES = frozenset(
    {Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.MERGE, Kind.COPY, Kind.DDL, Kind.CALL, Kind.DO, Kind.LOCK}
)
_ENDS = frozenset({Kind.COMMIT, Kind.TWO_PHASE})
_COMMITS = _ENDS | {Kind.CALL, Kind.DO, Kind.UNKNOWN}
"""What may have committed something when it fails."""
_DEFINES = frozenset({Kind.DDL, Kind.UNKNOWN})
_RUNS = frozenset({Kind.CALL, Kind.DO, Kind.EXECUTE, Kind.UNKNOWN})
_ROLES = frozenset({"role", "session_authorization", "all", ""})
_CATALOGS = frozenset({"pg_catalog", "information_schema", "pg_toast"})
_CALLS = frozenset({"function"})
"""What a statement "makes" when it calls functions of the users' own: they may do anything, or nothing."""
_DIGEST = "cache.digest"
"""Where a statement keeps what stands for its text."""
_LONG = 4_000
"""Bytes of a text that stands for itself."""
# The scanner takes these for space, PostgreSQL takes them for letters.
_FOREIGN_SPACE = re.compile(r"[^\S\x00-\x7f]")


@dataclass(slots=True, frozen=True)
class Effect:
    """What the success of a statement does to remembered replies.

    tables: names of changed relations, without their schema. everything: it may have changed any. everywhere: in any
    database, or the rights of a role, which all databases have in common. unseen: it ran code of users, and what that
    left in the session is not known. anyway: a part of it may commit, whatever becomes of the rest.
    """

    tables: tuple[str, ...] = ()
    everything: bool = False
    everywhere: bool = False
    unseen: bool = False
    anyway: bool = False


class Seen(NamedTuple):
    """What a catalog makes of a statement. tables: all that it reads, views followed. reason: why it is not cached."""

    tables: tuple[str, ...]
    reason: str | None


class Cacheability:
    """Whether a statement's reply may be remembered at all, and what it does to remembered ones."""

    __slots__ = (
        "_effect_in",
        "_effect_of",
        "_seen",
        "_serial",
        "acts",
        "annotation",
        "awkward",
        "effect",
        "ends",
        "forgets",
        "names_nothing",
        "own_functions",
        "reason",
        "sets_role",
        "tables",
    )

    def __init__(self, statement: Statement) -> None:
        self.reason = why_not(statement)
        """Why its reply is never remembered, catalog or not; None if it may be."""
        self.own_functions = self.reason is None and not statement.pure
        """It calls functions that are not built-in: only a catalog tells whether they change."""
        self.names_nothing = not (statement.relations or statement.functions or statement.dated)
        self.names_nothing = self.names_nothing and not (statement.fields or statement.types)
        """No catalog can tell more about it."""
        self.annotation: Annotation | None = statement.annotation("cache") if statement.annotations else None
        self.tables = tuple(sorted({name for _, name in statement.relations})) if self.reason is None else ()
        """Names of the relations it reads, without their schema: unqualified names may mean any."""
        self._serial = 0
        self._seen = Seen(self.tables, "volatile" if self.own_functions else None)
        self.awkward = b"\\" in statement.text
        """Its strings end elsewhere when standard_conforming_strings is off."""
        self.effect = effect_of(statement)
        """As the text alone has it."""
        self._effect_of = 0
        self._effect_in = self.effect
        self.ends = statement.kind in _ENDS
        """It may commit what came before."""
        self.acts = self.effect is not None or self.ends
        """Its execution has to be followed."""
        self.forgets = "all" in statement.drops
        """DISCARD ALL."""
        self.sets_role = any(change.name in _ROLES for change in statement.settings)
        """It sets or resets a role, or may."""

    def seen(self, statement: Statement, catalog: Catalog | None) -> Seen:
        """What it reads, and whether it may be remembered, as that catalog has it; without one, as the text has it."""
        serial = 0 if catalog is None else catalog.serial
        if serial != self._serial:
            self._serial, self._seen = serial, self._look(statement, catalog)
        return self._seen

    def effect_in(self, statement: Statement, catalog: Catalog | None) -> Effect | None:
        """What it does to remembered replies as that catalog has it; without one, as the text has it."""
        if catalog is None:
            return self.effect
        if catalog.serial != self._effect_of:
            self._effect_of, self._effect_in = catalog.serial, effect_of(statement, catalog)
        return self._effect_in

    @property
    def latest_effect(self) -> Effect | None:
        """What it does to remembered replies, as the text has it, or else the catalog that was looked at last."""
        return self.effect or self._effect_in

    def _look(self, statement: Statement, catalog: Catalog | None) -> Seen:
        if catalog is None:
            return Seen(self.tables, "volatile" if self.own_functions else None)
        tables, changing = catalog.reading(statement.relations)
        return Seen(tables, None if catalog.is_pure(statement) and not changing else "volatile")


def noted(statement: Statement) -> Cacheability:
    """The note on a statement, made when it is first asked for."""
    note: Cacheability | None = statement.notes.get(NAME)
    if note is None:
        note = statement.notes[NAME] = Cacheability(statement)
    return note


def digest(statement: Statement, note: Cacheability) -> bytes:
    """32 bytes that stand for the text; white space, comments and the case of keywords do not matter."""
    found: bytes | None = statement.notes.get(_DIGEST)
    if found is None:
        found = blake2b(_normalised(statement, exact=note.awkward), digest_size=32).digest()
        statement.notes[_DIGEST] = found
    return found


def _normalised(statement: Statement, *, exact: bool) -> bytes:
    text = statement.text
    if (
        exact
        or len(text) > _LONG
        or (not text.isascii() and _FOREIGN_SPACE.search(text.decode("utf-8", "surrogateescape")))
    ):
        return b"exact:" + text
    return statement.canonical


def why_not(statement: Statement) -> str | None:
    """The word for why a reply to it is never remembered; None if nothing in the text speaks against it."""
    kind = statement.kind
    if kind is not Kind.SELECT:
        return _reason_of_kind(statement)
    if not statement.reads:
        return "write" if statement.writes or statement.writes_unknown else "locking"
    for schema, name in statement.relations:
        if schema is not None and schema.startswith("pg_temp"):
            return "temp"
        if schema in _CATALOGS or (schema is None and name.startswith("pg_")):
            return "catalog"
    if statement.settings or statement.makes - _CALLS or statement.drops or not statement.stable:
        return "volatile"
    # PostgreSQL's own functions are known; only those of the users' own may turn out to be immutable.
    return "volatile" if not statement.pure and not statement.calls_unknown else None


def _reason_of_kind(statement: Statement) -> str:
    kind = statement.kind
    if kind is Kind.MULTI:
        return "multi"
    if kind in _TRANSACTIONS:
        return "transaction"
    if kind in _CURSORS:
        return "cursor"
    if kind in _WRITES or statement.writes:
        return "write"
    return "unknown" if kind is Kind.UNKNOWN else "utility"


def _is_pure(statement: Statement, catalog: Catalog) -> bool:
    """Whether the code of users that it runs does nothing but compute."""
    return statement.reads and catalog.is_pure(statement) and not catalog.reading(statement.relations).changing


def effect_of(statement: Statement, catalog: Catalog | None = None) -> Effect | None:
    """What it does to remembered replies; None for nothing. A catalog tells what code of users may do.

    Without one, functions of users may do anything.
    """
    parts = statement.parts or (statement,)
    runs = any(part.kind in _RUNS for part in parts)
    if catalog is None:
        writes = unseen = bool(statement.functions) and statement.calls_unknown
    else:
        writes = any(catalog.may_write(part) for part in parts)
        unseen = writes or any(catalog.runs_code(part) and not _is_pure(part, catalog) for part in parts)
    if not (statement.writes or statement.writes_unknown or unseen or runs):
        return None
    return Effect(
        tables=tuple({name for _, name in statement.writes}),
        everything=statement.writes_unknown or writes,
        everywhere=any(part.writes_unknown and part.kind in _DEFINES for part in parts),
        unseen=unseen or runs,
        anyway=any(part.kind in _COMMITS for part in parts),
    )
