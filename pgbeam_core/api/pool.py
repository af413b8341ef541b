"""Servers, pools and leases: what a pool plugin is given, and what it has to give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pgbeam_core.api.query import Target

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from pgbeam_core.session.prepared import ServerStatements
    from pgbeam_core.session.session import Session
    from pgbeam_core.session.turns import Turn


class Identity(NamedTuple):
    """Who a server is logged in as. A server serves only sessions of an equal identity.

    parameters: the startup parameters other than user, database and application_name, in order of name; they are what
    RESET returns to, so a server started with others would not do. oids: of the role that logged in, of the role in
    effect then, and of the database; empty before a server has told. A name may come to mean another one.
    """

    user: str
    database: str
    parameters: tuple[tuple[str, str], ...] = ()
    oids: tuple[int, ...] = ()


class Relay(Protocol):
    """Answers a server's authentication requests: a client whose login is relayed, or stored credentials."""

    @property
    def unanswered(self) -> bool:
        """A client has been asked, and has not answered yet."""

    @property
    def spent(self) -> bool:
        """A client has been asked or told something: a login at another server cannot begin anew with it."""

    @property
    def repeatable(self) -> bool:
        """PgBeam can log in like this again, without a client. Known once the server has accepted."""

    def challenge(self, frame: bytes) -> None:
        """An Authentication message other than AuthenticationOk. The answer goes to `server.respond`."""

    def attach(self, server: Server) -> None:
        """The server whose login this is."""

    def accepted(self) -> None:
        """The server said AuthenticationOk; it may still refuse the login."""

    def detach(self) -> None:
        """The login is over, whichever way."""


class Server(Protocol):
    """A connection to PostgreSQL, as a pool sees it."""

    target: Target
    address: str
    """Of the target, as debug notices show it."""
    identity: Identity
    pid: int
    alive: bool
    opened_at: float
    used_at: float
    state: set[str]
    """Session state that clients left on it: temp_table, listen … Nothing can be left but what is named here."""
    in_doubt: bool
    """What was sent since its state was last known may have left anything. It is not for another client."""
    parameters: dict[str, str]
    """What it has reported by ParameterStatus."""
    settings: dict[str, str]
    """Run-time parameters it was told, relative to its startup parameters."""
    in_template: bool
    """In a database that others are copied from."""
    reproducible: bool
    """Another server of this identity can be opened without a client's help: the server asked for no password, or for
    one that PgBeam has, or keys in its place."""
    greeting: list[bytes]
    """Notices that came with the login, for the client whose login it was."""
    lease: Lease | None
    """The exclusive lease on it."""
    sharers: int
    """Shared leases on it. Its pool counts them."""
    paid_at: float
    """When a shared turn on it ended last."""
    gone: Callable[[Any, bool], None]
    """Told once when it is gone, and whether PgBeam itself closed it. Its pool sets this."""

    @property
    def status(self) -> bytes:
        """Transaction status of the last ReadyForQuery: I, T or E."""

    @property
    def owed(self) -> int:
        """How many turns were sent to it whose replies have not ended. At 0 it may be given to another client."""

    @property
    def congested(self) -> bool:
        """The turn at the head takes too long, or too much, for others to stand behind it."""

    def watch(self) -> None:
        """Called again and again while it is shared: who stands behind a turn that was at the head last time already
        is sent elsewhere."""

    def close(self, reason: str) -> None:
        """Say Terminate and hang up; never without a reason. What it still owes is lost."""

    def reset(self) -> Deferred[None]:
        """Run DISCARD ALL; fails if the server does."""

    def settled(self) -> Deferred[None] | None:
        """None, or a Deferred for when no cancel request can hit it any more."""

    def respond(self, frame: bytes) -> None:
        """Pass on an answer to an authentication request."""

    def failed(self, failure: Failure) -> None:
        """Give its login up, for this reason."""

    # For conversations; a pool has no use for these.

    roles_at: int
    """The epoch in which the roles among its settings were told: in another one their names may mean others."""
    statements: ServerStatements

    def attach(self, holder: Any) -> None:
        """This conversation holds the exclusive lease."""

    def detach(self, holder: Any) -> None:
        """It does not any more."""

    def send(self, turn: Turn, data: bytes) -> None:
        """Owe a turn, and send its request."""

    def write(self, data: bytes) -> None:
        """Send more of a request that is under way."""

    @property
    def midway(self) -> bool:
        """Whether a part of a message has been passed on to its client, and not the rest."""

    def is_at_head(self, turn: Turn) -> bool:
        """Whether that is the turn that it is paying out."""

    def inject_due(self, turn: Turn) -> None:
        """Let the turn say at once what is PgBeam's to say."""

    def send_internal(self, request: bytes, otherwise: str | None) -> Deferred[None]:
        """Send a request of PgBeam's own, up to one Query or Sync; if it fails, close with `otherwise`, if given."""

    def lift_timeouts(self) -> None:
        """Ahead of a request of PgBeam's own: take away timeouts of clients that are too short for it."""

    def cancel(self, turn: Turn) -> Deferred[None]:
        """Ask PostgreSQL to cancel that turn, once it is at the head. Fires when no cancel request is under way."""

    def pause(self) -> None:
        """Do not read from PostgreSQL."""

    def resume(self) -> None:
        """Read from PostgreSQL again, after `pause`."""


class Lease:
    """The right to put turns on a server. Exclusive: nobody else's turns are between. It returns itself once."""

    __slots__ = ("_pool", "released", "server", "shared", "since", "waited")

    def __init__(self, pool: Pool, server: Server, *, shared: bool, waited: float, since: float) -> None:
        self._pool = pool
        self.server = server
        self.shared = shared
        self.waited = waited
        """Seconds in the queue."""
        self.since = since
        self.released = False

    def release(self) -> None:
        """Give the server back to its pool."""
        if not self.released:
            self.released = True
            self._pool.give_back(self)


class PoolMember(NamedTuple):
    """One server of a pool, as the console shows it.

    state: active (somebody has it), idle, tested (nobody has it, and it is being cleaned or closed) or new (it is being
    opened: then there is no server yet).
    """

    identity: Identity
    state: str
    server: Server | None = None


class PoolWaiter(NamedTuple):
    """Somebody who waits for a server of a pool.

    waits_for: what `lease` or `login` gave. since: on the clock of `beam.now`. reason: why, in words.
    """

    identity: Identity
    waits_for: Deferred[Lease]
    since: float
    reason: str


class PoolSizes(NamedTuple):
    """How many servers a pool may have, how many of a user and database it keeps ready, and how old they may get."""

    size: int
    min_idle: int = 0
    lifetime_s: float = 0.0


class PoolConsole(Protocol):
    """What the console shows of a pool, and what an operator tells it. A database of None stands for all."""

    def pause(self, database: str | None) -> None:
        """Nobody gets a server in that database any more: who asks waits, without a timeout. Servers are closed as soon
        as nobody has them."""

    def resume(self, database: str | None) -> None:
        """Take back a `pause` of the same database: who waits is served."""

    def reconnect(self, database: str | None) -> None:
        """Close the servers that are open now in that database, as soon as nobody has them."""

    def members(self) -> Sequence[PoolMember]:
        """All servers, those being opened included."""

    def waiters(self) -> Sequence[PoolWaiter]:
        """Who waits for one, logins included."""

    @property
    def sizes(self) -> PoolSizes:
        """As they are set now."""

    @property
    def pgbouncer_names(self) -> Mapping[str, str]:
        """What PgBouncer calls settings of this pool → the full keys of these: SHOW CONFIG has both, SET takes both."""


class Pool(Protocol):
    """The servers of one target, for all identities. One that has a `console`, a PoolConsole, can be looked into and
    steered at the console; to others PAUSE and the like mean nothing."""

    def login(self, session: Session, relay: Relay) -> Deferred[Lease]:
        """A fresh server on which the client authenticates itself, leased to it. It tells which oids its names mean.

        Fails with what the Opener fails with, or PoolExhausted. Cancelling the Deferred gives up.
        """

    def lease(
        self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False
    ) -> Lease | Deferred[Lease]:
        """A server for the next turns: at once if one is idle, else in order of asking.

        `settings` are the run-time parameters wanted; a server that has them is preferred. `shared`: the turn is one
        short read, which may go behind other clients' turns on a server that has exactly these settings.
        Cancelling the Deferred gives the place in the queue up.
        """

    def give_back(self, lease: Lease) -> None:
        """Called once by `Lease.release`. The server may go to the next in the queue within this call."""

    def leave(self, database: str) -> None:
        """Close the idle servers in that database, and for a while those that come back."""

    @property
    def available(self) -> bool:
        """Whether the target counts as reachable: its circuit breaker is closed."""

    def close(self, reason: str) -> Deferred[None] | None:
        """Close all servers, the leased ones when they come back; queued clients are refused."""
