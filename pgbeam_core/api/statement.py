"""An SQL text, analysed once and remembered: what it is, reads, writes and leaves behind."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pgbeam_core.api._bookkeeping import Cost, Verdict

Name = tuple[str | None, str]
"""A possibly schema-qualified name as written, folded as PostgreSQL folds it: (schema or None, name)."""

READ_BYTES = 384 * 1024
"""SQL texts longer than this are not read: nobody knows what they do."""

OWN_PARAMETER = ""
"""Among `Statement.types`: some type that is not PostgreSQL's, which a client names by its number."""


class Kind(enum.StrEnum):
    """What a statement is. `MULTI` is a text with several statements, `UNKNOWN` one that could not be parsed."""

    SELECT = "select"
    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    MERGE = "merge"
    COPY = "copy"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    RELEASE = "release"
    ROLLBACK_TO = "rollback_to"
    TWO_PHASE = "two_phase"
    SET = "set"
    SHOW = "show"
    RESET = "reset"
    DISCARD = "discard"
    PREPARE = "prepare"
    EXECUTE = "execute"
    DEALLOCATE = "deallocate"
    DECLARE = "declare"
    FETCH = "fetch"
    CLOSE = "close"
    LISTEN = "listen"
    UNLISTEN = "unlisten"
    NOTIFY = "notify"
    LOCK = "lock"
    LOAD = "load"
    EXPLAIN = "explain"
    CALL = "call"
    DO = "do"
    DDL = "ddl"
    UTILITY = "utility"
    EMPTY = "empty"
    MULTI = "multi"
    UNKNOWN = "unknown"


_ABOUT_STATEMENTS = frozenset({Kind.PREPARE, Kind.EXECUTE, Kind.DEALLOCATE, Kind.EXPLAIN, Kind.DDL})


@dataclass(slots=True, frozen=True)
class Annotation:
    """One `/* @pgbeam:name key=value word */`; a word without a value has the value None. Keys are lower case."""

    name: str
    parameters: Mapping[str, int | None]


class SettingAction(enum.StrEnum):
    """What a statement does with a run-time parameter."""

    SET = "set"
    RESET = "reset"
    SHOW = "show"


@dataclass(slots=True, frozen=True)
class SettingChange:
    """One SET, RESET or SHOW of a run-time parameter.

    `value` is the text as PostgreSQL would store it for a simple constant, None for DEFAULT, RESET and SHOW, and
    for a value that only the server knows (then `literal` is False). `name` is lower case; "all" for RESET ALL.
    """

    action: SettingAction
    name: str
    value: str | None = None
    local: bool = False
    literal: bool = True


class Boundary(NamedTuple):
    """What begins, ends or marks a transaction: BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ROLLBACK TO."""

    tag: str
    """The command tag of its success outside of a failed transaction."""
    isolation: str | None = None
    """The isolation level that a BEGIN names, in lower case."""


@dataclass(slots=True, eq=False)
class Statement:
    """An SQL text, analysed once and remembered; equal texts give the same object while it is remembered.

    Whatever could not be decided from the text is on the careful side: `reads` False, `stable` False,
    `writes_unknown` True.
    """

    text: bytes
    """What the server sees: the client's text without annotations.

    Of a text that has more than READ_BYTES, perhaps only its beginning; then something that makes it unique stands
    behind that, if it is to be prepared.
    """
    kind: Kind
    parts: tuple[Statement, ...] = ()
    """The single statements of a `MULTI` text; empty otherwise."""
    reads: bool = False
    """A SELECT, VALUES, TABLE or WITH … SELECT that neither locks rows nor writes nor makes a table."""
    stable: bool = False
    """No construct other than a function call makes the result depend on time, session or chance."""
    relations: frozenset[Name] = frozenset()
    """Tables and views it reads."""
    writes: frozenset[Name] = frozenset()
    """Relations it changes (rows, definition, TRUNCATE, COPY FROM)."""
    writes_unknown: bool = False
    """It may change relations that the text does not name (DO, CALL, unparsable text, DDL with CASCADE …)."""
    functions: frozenset[Name] = frozenset()
    """Functions it calls, and operators that are not built-in, by their spelling."""
    annotations: tuple[Annotation, ...] = ()
    problems: tuple[str, ...] = ()
    """What was wrong with its annotations, in words."""
    makes: frozenset[str] = frozenset()
    """Session state it may leave behind: temp_table, listen, advisory_lock, prepare, with_hold, load, slot, origin,
    backup; "function" and "unknown" for nobody knows what."""
    drops: frozenset[str] = frozenset()
    """Session state it takes away: the same words; "all" for DISCARD ALL."""
    settings: tuple[SettingChange, ...] = ()
    """In the order of the text. The name "" stands for some setting that the text does not name."""
    subject: str | None = None
    """The name a SAVEPOINT, ROLLBACK TO, DEALLOCATE, PREPARE, EXECUTE, LISTEN … is about; None for ALL or none."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What plugins remember about it, each under its own name."""
    _heard: bool = False
    """`template` and `parse` have been fired for it, and no plugin has failed that must not be passed over."""
    _local: bool | None = None
    """About `pgbeam.*`, or to be explained, which PgBeam answers itself; None until somebody has looked."""
    shareable: bool = False
    """It is a plain read whose rows depend on nothing but tables and settings: it may stand behind other clients'."""
    rows_only: bool = False
    """It reads or changes rows, and its success changes nothing else that PgBeam knows of."""
    has_effects: bool = True
    """Its success may change what PgBeam knows of a session."""
    _cost: Cost = field(default_factory=Cost)
    """How long and how large it has been so far; texts that differ only in constants have one in common."""
    _verdict: Verdict = field(default_factory=Verdict)
    """What `session.remains` has found; texts that differ only in constants have one in common."""
    _parses: int = 0
    """How often a client asked a server to parse it."""
    pure: bool = False
    """Equal rows and settings give an equal result: `stable`, and so is every function it calls.

    A function or operator that is not built-in is not trusted.
    """
    calls_unknown: bool = True
    """It calls functions that are not built-in: these may write what the text does not name."""
    _is_sibling: bool = False
    """Another text was analysed, which differs in plain literals only."""
    fields: frozenset[str] = frozenset()
    """Names that stand behind a point: columns of a relation, or functions that are called with its row."""
    types: frozenset[str] = frozenset()
    """Types that it names, without their schema."""
    dated: frozenset[str] = frozenset()
    """Columns that it casts to a date or time: as text they might hold the word now."""
    only_reads: bool = False
    """A plain read of which nothing is left when its transaction ends, whichever way it ends."""
    boundary: Boundary | None = None
    """Set if it begins, ends or marks a transaction and does nothing else."""
    _named_shape: tuple[str, str] | None = field(default=None, repr=False)
    """(query_hash, shape), once somebody has asked for them."""
    _unjudged: bool = False
    """`template` has failed at it."""
    _failed_by: str | None = None
    """The plugin that failed at it and must not be passed over, until somebody has been told."""
    _with_own_parameter: Statement | None = field(default=None, repr=False)
    """See the method of that name, once somebody has asked for it."""

    @property
    def sql(self) -> str:
        """`text` for people and regular expressions. Bytes that are no UTF-8 become lone surrogates, and encode back
        with "surrogateescape"."""
        return self.text.decode("utf-8", "surrogateescape")

    @property
    def query_hash(self) -> str:
        """The fingerprint of its shape, 16 hex digits: equal for texts that differ in constants only."""
        return (self._named_shape or self._find_shape())[0]

    @property
    def shape(self) -> str:
        """The text with constants replaced by $n."""
        return (self._named_shape or self._find_shape())[1]

    def _find_shape(self) -> tuple[str, str]:
        from pgbeam_core.sql.shapes import shape_of  # here, because sql builds on this module

        self._named_shape = shape_of(self.text, understood=self.kind is not Kind.UNKNOWN)
        return self._named_shape

    @property
    def speaks_of(self) -> bytes | None:
        """The prepared statement that its SQL is about, by name."""
        if self.subject is None or self.kind not in _ABOUT_STATEMENTS:
            return None
        return self.subject.encode("utf-8", "surrogateescape")

    @property
    def highest_parameter(self) -> int:
        """The highest number of a parameter in its text, outside of strings and comments; looked for each time."""
        from pgbeam_core.sql.scanner import tokens  # here, because sql builds on this module

        return max((int(word[1:6]) for group, word in tokens(self.sql) if group == "parameter"), default=0)

    @property
    def annotated(self) -> bool:
        """Whether the client's text had annotations, so that the server sees another."""
        return bool(self.annotations or self.problems)

    def sibling(self, text: bytes, notes: dict[str, Any]) -> Statement:
        """The same verdict on another text, which differs from this one in plain literals only.

        Made for each text with other literals. By position, because by name it takes three times as long; a test has
        an eye on each field.
        """
        return Statement(
            text,
            self.kind,
            (),
            self.reads,
            self.stable,
            self.relations,
            self.writes,
            self.writes_unknown,
            self.functions,
            (),
            (),
            self.makes,
            self.drops,
            (),
            self.subject,
            notes,
            False,
            self._local,
            self.shareable,
            self.rows_only,
            self.has_effects,
            self._cost,
            self._verdict,
            0,
            self.pure,
            self.calls_unknown,
            True,
            self.fields,
            self.types,
            self.dated,
            self.only_reads,
        )

    def with_own_parameter(self) -> Statement:
        """The same, with a parameter of which its client says that it is of some type of users."""
        if self._with_own_parameter is None:
            types = self.types | {OWN_PARAMETER}
            self._with_own_parameter = replace(
                self, types=types, notes={}, _heard=False, _unjudged=True, _verdict=Verdict()
            )
        return self._with_own_parameter

    @property
    def canonical(self) -> bytes:
        """The text with white space, comments and the case of words taken out of account, constants kept.

        Made anew each time: for plugins that remember what they make of it.
        """
        from pgbeam_core.sql.shapes import canonical  # here, because sql builds on this module

        return canonical(self.text)

    def annotation(self, name: str) -> Annotation | None:
        """Its last annotation of that name."""
        found = None
        for annotation in self.annotations:
            if annotation.name == name:
                found = annotation
        return found
