"""One execution of a statement by one session, and the places it may go to."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pgbeam_core.api.statement import READ_BYTES, Statement

if TYPE_CHECKING:
    from pgbeam_core.errors import PgBeamError
    from pgbeam_core.session.session import Session


class Role(enum.StrEnum):
    """What a target is to its project."""

    PRIMARY = "primary"
    REPLICA = "replica"


class Target(NamedTuple):
    """A place a query may go: the primary of a project, or one of its replicas."""

    project: str
    role: Role
    host: str
    port: int
    database: str | None = None
    """The database that the URL names, for clients that name none of their own."""
    user: str | None = None
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    sslcrl: str | None = None
    sslcrldir: str | None = None
    sslnegotiation: str = "postgres"
    sslsni: bool = True
    ssl_min_protocol_version: str = "TLSv1.2"
    hosts: tuple[tuple[str, int], ...] = ()
    """Where it may be, if the URL names several hosts; `host` and `port` are the first of these."""
    session_attrs: str = "any"
    """What a server of it must be, as libpq's target_session_attrs: any, primary or read-write."""
    hostaddr: str | None = None
    """The address that `host` stands for, where that has been looked up."""

    @property
    def address(self) -> str:
        """host:port, or the socket's path, as debug notices and stats show it; of several hosts all."""
        if self.hosts:
            return ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.host}:{self.port}"

    @property
    def watched(self) -> bool:
        """Whether PgBeam has to find out which server it is, and may not take the first that answers."""
        return bool(self.hosts) or self.session_attrs != "any"

    @property
    def places(self) -> tuple[Target, ...]:
        """A target for each of its hosts."""
        if not self.hosts:
            return (self,)
        return tuple(self._replace(host=host, port=port, hosts=()) for host, port in self.hosts)


@dataclass(slots=True, frozen=True)
class Parameters:
    """What Bind carried: values as the client sent them (None is NULL) and the format codes, 0 text and 1 binary."""

    values: tuple[bytes | None, ...] = ()
    formats: tuple[int, ...] = ()
    result_formats: tuple[int, ...] = ()
    """As Bind has them: none is all text, one counts for every column."""


NO_PARAMETERS = Parameters()


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
        "max_rows",
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
        self.max_rows = 0
        """Rows that Execute asks for at most; 0: all. An Answer with more is cut there, a kept one may have no more."""
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
        """An Answer would be taken: it is alone in its request, and none of its rows are asked for later."""
        self.arrived = arrived
        self.target: Target | None = None
        self.fell_back: PgBeamError | None = None
        """Why the target that `route` chose gave no server, if that is why `target` is now the primary."""
        self.facts: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        """What plugins remember about this execution, each under its own name."""
        self.keep = 0

    def bound(self, bind: bytes | None, types: bytes, *, described: bool, max_rows: int = 0) -> None:
        """Its Bind message (None: it came with an earlier request), whether it is described in this one, and how many
        rows are asked for at most."""
        self.max_rows = max_rows
        self._bind = bind
        self._parameters = None
        self.types = types
        self.needs_description = described

    @property
    def bound_bytes(self) -> bytes:
        """What Bind has behind its names, as sent: formats, values, result formats. Empty in the simple protocol."""
        if self._bind is None:
            return b""
        bind = _whole(self._bind)
        return bind[_behind_names(bind) :]

    @property
    def bound_size(self) -> int:
        """Bytes of its Bind message: large ones are not for reading. 0 in the simple protocol."""
        if self._bind is None:
            return 0
        size = len(self._bind)
        return size if size < READ_BYTES else int(getattr(self._bind, "size", size))

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
            self._parameters = NO_PARAMETERS if self._bind is None else _parameters(_whole(self._bind))
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


def _whole(bind: bytes) -> bytes:
    """All of a Bind of which there may only be the head: a large one is not joined before somebody wants to read it."""
    return bind if len(bind) < READ_BYTES else bytes(getattr(bind, "joined", bind))


def _behind_names(bind: bytes) -> int:
    """Where a Bind goes on behind the names of its portal and its statement."""
    return bind.index(0, bind.index(0, 5) + 1) + 1
