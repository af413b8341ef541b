"""What hooks pass around: statements, queries, targets, answers, refusals, results. Standard library only."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pgbeam_core.errors import PgBeamError
    from pgbeam_core.session.session import Session

Name = tuple[str | None, str]
"""A possibly schema-qualified name as written, folded as PostgreSQL folds it: (schema or None, name)."""


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


@dataclass(slots=True, frozen=True)
class SettingChange:
    """One SET, RESET or SHOW of a run-time parameter.

    `value` is the text as PostgreSQL would store it for a simple constant, None for DEFAULT, RESET and SHOW, and
    for a value that only the server knows (then `literal` is False). `name` is lower case; "all" for RESET ALL.
    """

    action: str  # set | reset | show
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


class Cost:
    """What executions of one shape of statement have cost a server. Seconds and bytes; recent ones count most."""

    __slots__ = ("_banned", "_known", "_seconds", "_size", "small")

    def __init__(self) -> None:
        self.small = False
        """It has proved short and small often enough to be trusted."""
        self._known = 0
        self._seconds = 0.0
        self._size = 0.0
        self._banned = 0

    def learn(self, seconds: float, size: int) -> None:
        """One more; `seconds` without the time that it stood behind others."""
        self._size = max(size, self._size * 0.98)
        self._seconds += (seconds - self._seconds) / min(self._known + 1, 8)
        self._known += 1
        self._banned = BANNED_FOR if seconds > SLOW_S else max(0, self._banned - 1)
        self.small = (
            self._known >= PROVED_BY and self._seconds < SHORT_S and self._size < SMALL_BYTES and not self._banned
        )

    def blame(self) -> None:
        """One is under way for so long, or has grown so large already, that others should not wait for it."""
        self._banned = BANNED_FOR
        self.small = False


class Verdict:
    """Whether running one shape of statement may leave what only its server knows, as one catalog has it."""

    __slots__ = ("leaves", "serial")

    def __init__(self) -> None:
        self.serial = -1
        """Of the catalog that was looked at."""
        self.leaves = True


READ_BYTES = 384 * 1024
"""SQL texts longer than this are not read: nobody knows what they do."""
PROVED_BY = 3
"""Executions after which a shape may be trusted."""
SHORT_S = 0.005
SMALL_BYTES = 8 * 1024
"""PostgreSQL sends so much in one piece, so an error within it is known before the client has got a byte."""
SLOW_S = 0.05
"""One execution this slow takes the trust away, for so many to come."""
BANNED_FOR = 50


@dataclass(slots=True, eq=False)
class Statement:
    """An SQL text, analysed once and remembered; equal texts give the same object while it is remembered.

    Whatever could not be decided from the text is on the careful side: `reads` False, `stable` False,
    `writes_unknown` True.
    """

    text: bytes
    """What the server sees: the client's text without annotations.

    Of a text in a Query message that has more than READ_BYTES, only a few bytes more than these.
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
    """Functions it calls, and operators that PostgreSQL does not bring along, by their spelling."""
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
    seen: bool = False
    """`parse` has been fired for it."""
    local: bool | None = None
    """About `pgbeam.*`, which PgBeam answers itself; None until somebody has looked."""
    shareable: bool = False
    """It is a plain read whose rows depend on nothing but tables and settings: it may stand behind other clients'."""
    plain: bool = False
    """It reads or changes rows, and its success changes nothing that PgBeam knows of a session."""
    has_effects: bool = True
    """Its success may change what PgBeam knows of a session."""
    cost: Cost = field(default_factory=Cost)
    """How long and how large it has been so far; texts that differ only in constants have one in common."""
    verdict: Verdict = field(default_factory=Verdict)
    """What `session.remains` has found; texts that differ only in constants have one in common."""
    parses: int = 0
    """How often a client asked a server to parse it."""
    pure: bool = False
    """Equal rows and settings give an equal result: `stable`, and so is every function it calls.

    A function or operator that PostgreSQL does not bring along is not trusted.
    """
    calls_unknown: bool = True
    """It calls functions that PostgreSQL does not bring along: these may write what the text does not name."""
    is_sibling: bool = False
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
    named_shape: tuple[str, str] | None = field(default=None, repr=False)
    """(query_hash, shape), once somebody has asked for them."""

    @property
    def query_hash(self) -> str:
        """The fingerprint of its shape, 16 hex digits: equal for texts that differ in constants only."""
        return (self.named_shape or self._find_shape())[0]

    @property
    def shape(self) -> str:
        """The text with constants replaced by $n."""
        return (self.named_shape or self._find_shape())[1]

    def _find_shape(self) -> tuple[str, str]:
        from pgbeam_core.sql.shapes import shape_of  # here, because sql builds on this module

        self.named_shape = shape_of(self.text, understood=self.kind is not Kind.UNKNOWN)
        return self.named_shape

    @property
    def speaks_of(self) -> bytes | None:
        """The prepared statement that its SQL is about, by name."""
        if self.subject is None or self.kind not in _ABOUT_STATEMENTS:
            return None
        return self.subject.encode("utf-8", "surrogateescape")

    @property
    def annotated(self) -> bool:
        """Whether the client's text had annotations, so that the server sees another."""
        return bool(self.annotations or self.problems)

    def sibling(self, text: bytes, notes: dict[str, Any]) -> Statement:
        """The same verdict on another text, which differs from this one in plain literals only."""
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
            self.local,
            self.shareable,
            self.plain,
            self.has_effects,
            self.cost,
            self.verdict,
            0,
            self.pure,
            self.calls_unknown,
            True,
            self.fields,
            self.types,
            self.dated,
            self.only_reads,
        )

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


class Target(NamedTuple):
    """A place a query may go: the primary of a project, or one of its replicas."""

    project: str
    role: str  # primary | replica
    host: str
    port: int
    database: str | None = None
    """The database that the URL names, for clients that name none of their own."""
    user: str | None = None
    sslmode: str = "prefer"
    sslrootcert: str | None = None

    @property
    def address(self) -> str:
        """host:port, or the socket's path, as debug notices and stats show it."""
        return f"{self.host}:{self.port}"


@dataclass(slots=True, frozen=True)
class Parameters:
    """What Bind carried: values as the client sent them (None is NULL) and the format codes, 0 text and 1 binary."""

    values: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    result_formats: tuple[int, ...] = ()
    """As Bind has them: none is all text, one counts for every column."""


NO_PARAMETERS = Parameters()


@dataclass(slots=True, frozen=True)
class Answer:
    """A complete reply to one query, as whole frames of the wire protocol.

    description: the RowDescription frame; None when the reply it was kept from had none (a Bind and Execute alone).
    rows: the DataRow frames one after another. complete: the CommandComplete frame.
    """

    description: bytes | None
    rows: bytes
    complete: bytes

    @property
    def size(self) -> int:
        """Bytes it holds."""
        return len(self.description or b"") + len(self.rows) + len(self.complete)


@dataclass(slots=True, frozen=True)
class Refusal:
    """An error instead of a reply. At connect time it is sent as FATAL and ends the connection, later as ERROR."""

    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None


@dataclass(slots=True, frozen=True)
class Notice:
    """A NOTICE for the client, sent before its ReadyForQuery."""

    message: str
    severity: str = "NOTICE"
    sqlstate: str = "00000"


class Result(NamedTuple):
    """How one execution ended. Exactly one for each execution, however it was answered."""

    source: str
    """`server`, or the name of the plugin that answered or refused."""
    tag: str = ""
    """The command tag, e.g. `SELECT 3`; empty after an error."""
    rows: int = 0
    error: tuple[str, str] | None = None
    """(SQLSTATE, message) of the error that ended it."""
    duration: float = 0.0
    """Seconds from the request's arrival to its last byte, waiting included."""
    server_time: float = 0.0
    """Seconds from its leaving for the server to the end of the reply; 0 when no server was asked."""
    size: int = 0
    """Bytes of the reply; of several in one request the last has those of all."""
    kept: Answer | None = None
    """The reply, if a plugin asked with `keep_result`, it stayed below the cap, and it held nothing but one result."""
    committed: bool = True
    """False when its transaction is still open: `Session.transaction_over` tells how that ends."""


class Query:
    """One execution of a statement by one session."""

    __slots__ = (
        "_bind",
        "_parameters",
        "answerable",
        "arrived",
        "facts",
        "fell_back",
        "in_transaction",
        "keep",
        "lazily",
        "needs_description",
        "needs_server",
        "notes",
        "session",
        "simple",
        "statement",
        "target",
        "types",
    )

    def __init__(
        self,
        session: Session,
        statement: Statement,
        simple: bool,
        in_transaction: bool,
        answerable: bool,
        arrived: float,
    ) -> None:
        self.session = session
        self.statement = statement
        self._bind: bytes | None = None
        self._parameters: Parameters | None = NO_PARAMETERS
        self.types = b""
        """The parameter type section of Parse as sent: a count and OIDs; empty in the simple protocol."""
        self.needs_description = True
        """The client expects a RowDescription; without one an Answer is not taken."""
        self.simple = simple
        """Sent by the simple query protocol."""
        self.in_transaction = in_transaction
        """Inside an explicit transaction, or one of several in a pipeline."""
        self.lazily = False
        """Its transaction is kept back, and it runs as if outside: see `lazy_transactions`."""
        self.needs_server = True
        """False for what PgBeam answers itself, unless a plugin refuses it."""
        self.answerable = answerable
        """An Answer would be taken: it is alone in its request and all its rows are asked for."""
        self.arrived = arrived
        self.target: Target | None = None
        self.fell_back: PgBeamError | None = None
        """Why the target that `route` chose gave no server, if that is why `target` is now the primary."""
        self.facts: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        """What plugins remember about this execution, each under its own name."""
        self.keep = 0

    def bound(self, bind: bytes | None, types: bytes, *, described: bool) -> None:
        """Its Bind message (None: it came with an earlier request), and whether it is described in this one."""
        self._bind = bind
        self._parameters = None
        self.types = types
        self.needs_description = described

    def bind_frame(self) -> bytes:
        """Its Bind message, for the unnamed statement and portal."""
        assert self._bind is not None
        return _unnamed(self._bind)

    @property
    def bound_bytes(self) -> bytes:
        """What Bind has behind its names, as sent: formats, values, result formats. Empty in the simple protocol."""
        return b"" if self._bind is None else self._bind[_behind_names(self._bind) :]

    @property
    def bound_size(self) -> int:
        """Bytes of its Bind message: large ones are not for reading. 0 in the simple protocol."""
        return 0 if self._bind is None else len(self._bind)

    @property
    def mentions_clock(self) -> bool:
        """Whether a parameter might mean now, today, tomorrow or yesterday when it becomes a date or a time."""
        if self._bind is None:
            return False
        from pgbeam_core.sql.clock import LOOK_BYTES, may_mention_clock, mentions_clock

        if len(self._bind) > LOOK_BYTES:
            return True
        return may_mention_clock(self._bind) and any(
            value is not None and mentions_clock(value) for value in self.parameters.values
        )

    @property
    def parameters(self) -> Parameters:
        """What Bind carried. Raises ProtocolViolation if that cannot be read."""
        if self._parameters is None:
            self._parameters = NO_PARAMETERS if self._bind is None else _parameters(self._bind)
        return self._parameters

    def explain(self, **facts: str) -> None:
        """Say something for the debug notice: explain(cache="bypass", reason="transaction")."""
        self.facts.update(facts)

    def keep_result(self, max_bytes: int) -> None:
        """Ask for the reply in `Result.kept`, unless it is larger than that. The largest asked for counts."""
        self.keep = max(self.keep, max_bytes)


def _parameters(bind: bytes) -> Parameters:
    from pgbeam_core.wire.frontend import Bind  # here, because only extended queries need it

    message = Bind.from_bytes(bind)
    return Parameters(tuple(message.values), tuple(message.formats), tuple(message.result_formats))


def _behind_names(bind: bytes) -> int:
    """Where a Bind goes on behind the names of its portal and its statement."""
    return bind.index(0, bind.index(0, 5) + 1) + 1


def _unnamed(bind: bytes) -> bytes:
    body = b"\x00\x00" + bind[_behind_names(bind) :]
    return b"B" + (len(body) + 4).to_bytes(4) + body
