"""A conversation between fakes: its client and its pool are lists, its servers are real ones on string transports."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pluggy
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pgbeam_core.api import hookspecs
from pgbeam_core.api.pool import Identity, Lease
from pgbeam_core.api.query import Role, Target
from pgbeam_core.api.statement import Statement
from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.firing import Hooks
from pgbeam_core.net.deadlines import PAUSE, Deadlines
from pgbeam_core.net.server import ServerProtocol
from pgbeam_core.session.conversation import Conversation
from pgbeam_core.session.large_messages import LargeMessages
from pgbeam_core.session.session import Session
from pgbeam_core.session.statement_hooks import StatementHooks
from pgbeam_core.sql.statements import Statements
from pgbeam_core.telemetry.stats import ProjectStats
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.frames import split

TARGET = Target("shop", Role.PRIMARY, "db.example.com", 5432)
READY, IN_TRANSACTION, FAILED = backend.READY_IDLE, backend.READY_IN_TRANSACTION, backend.READY_FAILED
ONE, TWO, THREE = backend.PARSE_COMPLETE, backend.BIND_COMPLETE, backend.CLOSE_COMPLETE
SYNC, FLUSH = frontend.SYNC, frontend.FLUSH


def done(tag: str = "SELECT 1") -> bytes:
    """CommandComplete."""
    return backend.command_complete(tag)


def error(sqlstate: str = "XX000", message: str = "no", severity: str = "ERROR") -> bytes:
    """ErrorResponse."""
    return backend.error_response(severity, sqlstate, message)


def query(sql: str) -> bytes:
    """Query."""
    return frontend.Query(sql.encode()).to_bytes()


def parse(sql: str, name: bytes = b"") -> bytes:
    """Parse."""
    return frontend.Parse(name, sql.encode()).to_bytes()


def bind(name: bytes = b"", portal: bytes = b"") -> bytes:
    """Bind without parameters."""
    return frontend.Bind(portal, name).to_bytes()


def execute(portal: bytes = b"", rows: int = 0) -> bytes:
    """Execute."""
    return frontend.Execute(portal, rows).to_bytes()


def describe(name: bytes = b"", kind: int = frontend.PORTAL) -> bytes:
    """Describe."""
    return frontend.Describe(kind, name).to_bytes()


def close(name: bytes, kind: int = frontend.STATEMENT) -> bytes:
    """Close."""
    return frontend.Close(kind, name).to_bytes()


def pbe(sql: str, name: bytes = b"") -> bytes:
    """Parse, Bind and Execute."""
    return parse(sql, name) + bind(name) + execute()


def copy_data(data: bytes) -> bytes:
    """CopyData, in either direction."""
    return b"d" + (len(data) + 4).to_bytes(4) + data


def tags(data: bytes) -> str:
    """The types of the messages, in order."""
    assert sum(end - start for _, start, end in split(data)) == len(data), f"a torn message: {data!r}"
    return "".join(chr(tag) for tag, _, _ in split(data))


def messages(data: bytes) -> list[bytes]:
    """The messages, one by one."""
    return [data[start:end] for _, start, end in split(data)]


class FakeClient:
    """The client's end."""

    def __init__(self) -> None:
        self.got = b""
        self.reading = True
        self.gone: str | None = None
        self.conversation: Conversation

    def write(self, data: bytes) -> None:
        """Note it."""
        if self.gone is None:
            self.got += data

    def pause(self) -> None:
        """Note it."""
        assert self.reading
        self.reading = False

    def resume(self) -> None:
        """Note it."""
        assert not self.reading
        self.reading = True

    def hang_up(self, reason: str, farewell: bytes = b"") -> None:
        """As the real one does."""
        if self.gone is None:
            self.write(farewell)
            self.gone = reason
            self.conversation.gone(reason)

    def take(self) -> bytes:
        """What came since last asked."""
        got, self.got = self.got, b""
        return got


class Wire(StringTransport):
    """A server's transport that tells what was sent since last asked."""

    def pauseProducing(self) -> None:
        """As often as one likes."""
        self.producerState = "paused"

    def resumeProducing(self) -> None:
        """As often as one likes."""
        self.producerState = "producing"

    def take(self) -> bytes:
        """What was sent since last asked."""
        got: bytes = self.value()
        self.clear()
        return got


class FakePool:
    """Idle servers; who comes when there is none waits."""

    available = True

    def __init__(self) -> None:
        self.idle: list[ServerProtocol] = []
        self.waiting: list[Deferred[Lease]] = []
        self.leases = 0

    def lease(
        self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False
    ) -> Lease | Deferred[Lease]:
        """One that is idle, or a Deferred that nobody fires but `serve`."""
        if self.idle:
            return self._lease(self.idle.pop(0))
        waiter: Deferred[Lease] = Deferred()
        self.waiting.append(waiter)
        return waiter

    def serve(self, server: ServerProtocol) -> None:
        """Give the first who waits that server."""
        self.waiting.pop(0).callback(self._lease(server))

    def _lease(self, server: ServerProtocol) -> Lease:
        self.leases += 1
        pool: Any = self
        leased: Any = server
        server.lease = Lease(pool, leased, shared=False, waited=0.0, since=0.0)
        return server.lease

    def give_back(self, lease: Lease) -> None:
        """Keep it if it lives."""
        server: Any = lease.server
        server.lease = None
        assert not server.alive or (server.status == b"I" and not server.owed), "given back in the middle"
        if server.alive:
            self.idle.append(server)


class Stage:
    """One client, one pool and as many servers as wanted.

    plugins: by name, first to be asked first.
    """

    def __init__(
        self,
        servers: int = 1,
        *,
        plugins: Mapping[str, object] | None = None,
        refusing: tuple[str, ...] = (),
        pool_mode: str = "transaction",
        lazy: str = "off",
        isolation: str | None = "read committed",
        prepare_once: bool = True,
        prepared_limit: int = 100,
        application_name: str | None = None,
    ) -> None:
        self.clock = Clock()
        self.unfinished = Deadlines(self.clock, PAUSE)
        self.epoch = 0
        self.known: Catalog | None = Catalog([])
        """What is known of the database: that there is nothing of users in it."""
        self.catalog_comes: Deferred[None] | None = None
        """Fires when it is known, if it is not yet."""
        self.left: list[str] = []
        self.large_messages = LargeMessages(self.clock.callLater)
        self.settings = SimpleNamespace(prepare_once=prepare_once, max_message_bytes=1 << 30, max_query_bytes=0)
        manager = pluggy.PluginManager("pgbeam")
        manager.add_hookspecs(hookspecs)
        for name, plugin in reversed(list((plugins or {}).items())):
            manager.register(plugin, name=name)
        self.hooks = Hooks(manager, refusing)
        self._pool = FakePool()
        self._statement_hooks = StatementHooks(self.hooks)
        self._statements = Statements(judge=self._statement_hooks.template)
        self.function_call = self._statements.function_call()
        self._stats = ProjectStats()
        self._prepared_limit = prepared_limit
        self.cancels: list[Deferred[None]] = []
        self.servers = [self.server() for _ in range(servers)]
        self._pool.idle += self.servers
        self.isolation = isolation
        self.project = SimpleNamespace(
            primary=TARGET, name="shop", pool_mode=pool_mode, query_timeout_ms=0, lazy_transactions=lazy, databases={}
        )
        self.client, self.conversation = self.join(application_name=application_name)
        if pool_mode == "session":
            self.conversation.accept_lease(self._pool._lease(self._pool.idle.pop(0)))

    def join(self, application_name: str | None = None) -> tuple[FakeClient, Conversation]:
        """One more client."""
        startup = {"user": "app", "database": "shop"}
        if application_name is not None:
            startup["application_name"] = application_name
        project: Any = self.project
        session = Session(project, "192.0.2.1", startup, hostname=None, ask=self._ask)
        client = FakeClient()
        runtime: Any = self
        client.conversation = Conversation(session, client, runtime)
        return client, client.conversation

    def _ask(self, name: str, value: str | None) -> Any:
        return {"debug": value or "off"}.get(name)

    # What a conversation needs of its runtime.

    def now(self) -> float:
        """Seconds."""
        return float(self.clock.seconds())

    def statement(self, text: bytes) -> Statement:
        """See Runtime."""
        statement = self._statements.statement(text)
        if not statement._heard:
            self._statement_hooks.parse(statement)
        return statement

    def unread(self, text: bytes) -> Statement:
        """See Runtime."""
        statement = self._statements.unread(text)
        self._statement_hooks.parse(statement)
        return statement

    def refused_by(self, statement: Statement) -> str | None:
        """See Runtime."""
        return self._statement_hooks.refused_by(statement)

    def pool(self, _target: Target) -> Any:
        """See Runtime."""
        return self._pool

    def stats(self, _session: Session) -> ProjectStats:
        """See Runtime."""
        return self._stats

    def default_isolation(self, _session: Session) -> str | None:
        """See Runtime."""
        return self.isolation

    def tables_changed(self, _statement: Statement) -> None:
        """See Runtime."""
        self.epoch += 1

    def later(self, call: Callable[[], None]) -> Any:
        """See Runtime."""
        return self.clock.callLater(0, call)

    def outdated(self) -> None:
        """See Runtime."""
        self.epoch += 1

    def catalog(self, _session: Session) -> Catalog | None:
        """See Runtime."""
        return self.known

    def catalog_soon(self, _session: Session, _seconds: float) -> Any:
        """See Runtime."""
        return self.catalog_comes

    def leave(self, _session: Session, database: str) -> None:
        """See Runtime."""
        self.left.append(database)

    # What a test needs.

    @property
    def pools(self) -> FakePool:
        """The pool."""
        return self._pool

    def server(self) -> ServerProtocol:
        """A server that is logged in and in nobody's hands."""
        server = ServerProtocol(
            TARGET,
            Identity("app", "shop"),
            None,
            now=self.clock.seconds,
            later=self.later,
            cancel=self._cancel,
            prepared_limit=self._prepared_limit,
            relay=None,
        )
        server.makeConnection(Wire())
        key = backend.BackendKeyData(1, b"key!").to_bytes()
        server.dataReceived(backend.AUTHENTICATION_OK + key + READY)
        self.sent(server)
        return server

    def _cancel(self, _server: ServerProtocol) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.cancels.append(done)
        return done

    def sent(self, server: ServerProtocol | None = None) -> bytes:
        """What PgBeam sent to a server since last asked."""
        wire: Any = (server or self.servers[0]).transport
        got: bytes = wire.take()
        return got

    def say(self, data: bytes, server: ServerProtocol | None = None) -> None:
        """A server says that."""
        (server or self.servers[0]).dataReceived(data)

    def send(self, data: bytes, client: FakeClient | None = None) -> bytes:
        """A client sends that; gives what it gets at once. A breach of the protocol ends the connection."""
        client = client or self.client
        try:
            client.conversation.input.received(data)
        except ProtocolViolation as violation:
            client.hang_up(violation.message, error(violation.sqlstate, violation.message, "FATAL"))
        return client.take()

    def turn(self, request: bytes, reply: bytes, server: ServerProtocol | None = None) -> bytes:
        """A request, the server's reply to it, and what the client gets in the end."""
        at_once = self.send(request)
        self.say(reply, server)
        return at_once + self.client.take()

    def inspect(self, *pins: str) -> None:
        """Should PgBeam have asked the first server what the client left on it: it says that."""
        if self.servers[0].owed:
            rows = b"".join(backend.data_row(["pin", pin, ""]) for pin in pins)
            self.say(rows + done(f"SELECT {len(pins)}") + READY)

    def lose(self, server: ServerProtocol | None = None) -> None:
        """A server's connection breaks."""
        (server or self.servers[0]).connectionLost(Failure(ConnectionError()))
