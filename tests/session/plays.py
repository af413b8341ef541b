"""Conversations of several clients with played servers, from the first word to the last, and what came of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, NamedTuple
from unittest.mock import patch

from twisted.internet.defer import Deferred

from pgbeam_core import Notice, Query, Result, Statement, hookimpl
from pgbeam_core.api.pool import Identity, Lease
from pgbeam_core.net.server import ServerProtocol
from pgbeam_core.session.conversation import Conversation
from pgbeam_core.session.turns import Turn
from pgbeam_core.testing.chunks import Chunks
from pgbeam_core.wire.frames import split
from tests.session.played import Played, Tables
from tests.session.plugins import ANSWER, REFUSAL
from tests.session.stage import READY, FakePool, Stage

COUNTED = isinstance(Conversation.deliver_reply, FunctionType)
"""Whether plays can count what goes the short way: compiled code does not let itself be patched."""
ALTERED = b"altered"
"""In place of what a client sends: somebody alters a table."""
LOST = b"lost"
"""The server is lost, with what it has not said; another one takes its place."""
LEFT, FULL, DRAINED = b"left", b"full", b"drained"
"""The client leaves; it does not keep up with what it is written; it does again."""


class Step(NamedTuple):
    """A client sends something; then servers say so much of what they owe."""

    data: bytes
    client: int = 0
    replies: int = 100
    """How many ReadyForQuery come before the next step."""
    joined: bool = False
    """They come in one piece."""


class Way(NamedTuple):
    """How a play is played."""

    from_client: Chunks
    from_server: Chunks


def first_byte_apart(data: bytes) -> Iterator[bytes]:
    """What does not come whole goes the long way."""
    yield from filter(None, (data[:1], data[1:]))


class Watcher:
    """A plugin that notes all it is told, keeps replies, and answers as the text says."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.parsed: list[bytes] = []
        self.waiting: list[tuple[Deferred[Any], Any]] = []
        self.first = 0

    @hookimpl
    def parse(self, statement: Statement) -> None:
        self.parsed.append(statement.text)

    @hookimpl
    def route(self, query: Query) -> None:
        self.told.append(("route", *self._seen(query)))

    @hookimpl
    def execute(self, query: Query) -> Any:
        query.keep_result(250)
        self.told.append(("execute", query.target, *self._seen(query)))
        text = query.statement.text
        if b"raises" in text:
            raise ValueError
        outcome = ANSWER if b"answered" in text else REFUSAL if b"refused" in text else None
        if b"waits" not in text:
            return outcome
        waiting: Deferred[Any] = Deferred()
        self.waiting.append((waiting, outcome))
        return waiting

    @hookimpl
    def result(self, query: Query, result: Result) -> Notice | None:
        self.told.append(("result", tuple(result), query.session.status, dict(query.facts), *self._seen(query)))
        return Notice("noted") if b"noted" in query.statement.text else None

    @hookimpl
    def transaction_over(self, committed: bool) -> None:
        self.told.append(("over", committed))

    def _seen(self, query: Query) -> tuple[Any, ...]:
        kind = (query.simple, query.in_transaction, query.answerable, query.needs_description)
        place = query.session.id - self.first
        return (place, query.statement.text, *kind, query.types, query.bound_bytes, query.parameters)

    def go_on(self) -> bool:
        """Give what was waited for; False if there was nothing."""
        waiting, self.waiting = self.waiting, []
        for deferred, outcome in waiting:
            if not deferred.called:
                deferred.callback(outcome)
        return bool(waiting)


class SharingPool(FakePool):
    """One that lets small reads stand behind one another."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = 0
        self._sharing: ServerProtocol | None = None

    def lease(
        self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False
    ) -> Lease | Deferred[Lease]:
        """See `FakePool`."""
        server = self._sharing or (self.idle[0] if self.idle else None)
        if not shared or server is None or server.settings != settings:
            return super().lease(identity, settings)
        if self._sharing is None:
            self._sharing = self.idle.pop(0)
        server.sharers += 1
        self.shared += 1
        pool: Any = self
        leased: Any = server
        return Lease(pool, leased, shared=True, waited=0.0, since=0.0)

    def give_back(self, lease: Lease) -> None:
        """See `FakePool`."""
        server: Any = lease.server
        if not lease.shared:
            super().give_back(lease)
        else:
            server.sharers -= 1
            if not server.sharers:
                self._sharing = None
                self.idle += [server] if server.alive else []
        while self.waiting and self.idle:
            self.serve(self.idle.pop(0))


@dataclass
class Story:
    """What came of a play."""

    got: list[list[bytes]] = field(default_factory=list)
    """The messages that each client got, but for asynchronous ones."""
    aside: list[list[bytes]] = field(default_factory=list)
    """The asynchronous ones: they may come between any two others."""
    told: list[Any] = field(default_factory=list)
    """What the plugin was told, but for `parse`."""
    parsed: list[bytes] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    """What each server got."""
    executed: list[list[bytes]] = field(default_factory=list)
    """The texts that it ran."""
    state: list[Any] = field(default_factory=list)
    """Of each client: transaction status, statements, portals that have not been run."""
    shorts: int = 0
    """How many plain statements had the reply that was hoped for."""
    shared: int = 0
    """How many turns stood on a shared server."""


class Play:
    """Some clients before one server, which may be replaced."""

    def __init__(self, way: Way, *, clients: int = 1, pool_mode: str = "transaction") -> None:
        self._way = way
        self._watcher = Watcher()
        with patch("tests.session.stage.FakePool", SharingPool):
            self._stage = Stage(plugins={"watcher": self._watcher}, pool_mode=pool_mode)
        self._watcher.first = self._stage.conversation.session.id
        self._clients = [self._stage.client, *(self._stage.join()[0] for _ in range(clients - 1))]
        self._got = [b""] * clients
        self._tables = Tables()
        self._cast: list[tuple[ServerProtocol, Played, deque[bytes]]] = []
        self._enter(self._stage.servers[0])
        self._shorts = 0

    def run(self, steps: Iterable[Step]) -> Story:
        """Play them, and then whatever is left to say."""
        whole = Conversation.deliver_reply

        def counted(conversation: Conversation, turn: Turn, reply: bytes) -> None:
            self._shorts += 1
            whole(conversation, turn, reply)

        with patch.object(Conversation, "deliver_reply", counted):
            for step in steps:
                self._step(step)
            for client in self._clients:
                if client.gone is None:
                    client.conversation.client_drained()
            self._pump(1000, joined=False)
        return self._story()

    def _enter(self, server: ServerProtocol) -> None:
        self._cast.append((server, Played(self._tables), deque()))

    def _step(self, step: Step) -> None:
        client = self._clients[step.client]
        if step.data == ALTERED:
            self._tables.version += 1
        elif step.data == LOST:
            self._lose()
        elif client.gone is not None:
            pass
        elif step.data == LEFT:
            client.hang_up("client left")
            if not self._cast[-1][0].alive:
                self._replace()
        elif step.data == FULL:
            client.conversation.client_full()
        elif step.data == DRAINED:
            client.conversation.client_drained()
        else:
            for chunk in self._way.from_client(step.data):
                self._got[step.client] += self._stage.send(chunk, client)
        self._pump(step.replies, joined=step.joined)

    def _lose(self) -> None:
        self._stage.lose(self._cast[-1][0])
        self._replace()

    def _replace(self) -> None:
        self._cast[-1][2].clear()
        pool = self._stage.pools
        pool.idle[:] = [server for server in pool.idle if server.alive]
        fresh = self._stage.server()
        self._enter(fresh)
        if pool.waiting:
            pool.serve(fresh)
        else:
            pool.idle.append(fresh)

    def _pump(self, replies: int, *, joined: bool) -> None:
        going = True
        while going:
            going = False
            for server, played, owed in self._cast:
                if data := self._stage.sent(server):
                    owed.extend(turns(played.hear(data)))
                if owed and replies and server.alive:
                    going = True
                    count = min(replies, len(owed)) if joined else 1
                    replies -= count
                    for piece in self._way.from_server(b"".join(owed.popleft() for _ in range(count))):
                        self._stage.say(piece, server)
            going = self._watcher.go_on() or going

    def _story(self) -> Story:
        said = [calm(got + client.take()) for got, client in zip(self._got, self._clients, strict=True)]
        return Story(
            got=[messages for messages, _ in said],
            aside=[asynchronous for _, asynchronous in said],
            told=self._watcher.told,
            parsed=self._watcher.parsed,
            heard=[played.heard for _, played, _ in self._cast],
            executed=[played.executed for _, played, _ in self._cast],
            state=[_state(client.conversation) for client in self._clients],
            shorts=self._shorts,
            shared=self._stage.pools.shared,  # type: ignore[attr-defined]
        )


def turns(data: bytes) -> list[bytes]:
    """Replies, cut behind each ReadyForQuery."""
    found, start = [], 0
    for _, begin, end in split(data):
        if data[begin:end][:1] == READY[:1]:
            found.append(data[start:end])
            start = end
    return [*found, *([data[start:]] if start < len(data) else [])]


def calm(data: bytes) -> tuple[list[bytes], list[bytes]]:
    """Messages, those apart that may come between any two others."""
    frames = [data[start:end] for _, start, end in split(data)]
    aside = [frame for frame in frames if frame[:1] in b"NSA"]
    return [frame for frame in frames if frame[:1] not in b"NSA"], aside


def _state(conversation: Any) -> tuple[Any, ...]:
    client_statements = conversation.client_statements
    statements = {name: prepared.key for name, prepared in client_statements.statements.items()}
    # Of what has run to its end the server alone has anything to say.
    portals = {name: portal.prepared.key for name, portal in client_statements.portals.items() if not portal.started}
    return conversation.session.status, conversation.phase, statements, portals
