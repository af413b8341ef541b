"""Clients of a real pool whose servers are string transports: what PgBeam sends is read, what they say is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from pgbeam_core import Identity, Opener, Relay, Server
from pgbeam_core.api._bookkeeping import PROVED_BY
from pgbeam_pool import WATCH_EVERY_S
from pgbeam_pool.budget import Budget
from pgbeam_pool.pool import TargetPool
from pgbeam_pool.settings import PoolSettings
from tests.session.stage import READY, FakeClient, Stage, done, query

READ = "SELECT a FROM t"
OTHER = "SELECT b FROM u"


class AtOnce(Opener):
    """Whose servers are open before anybody has to wait."""

    def __init__(self, opened: Callable[[Identity], Server]) -> None:
        self._opened = opened

    def __call__(self, identity: Identity, application_name: str | None, relay: Relay | None) -> Deferred[Server]:
        return succeed(self._opened(identity))


class Crowd(Stage):
    """Clients in transaction mode on at most `max_active` servers. The statements `proved` are known to be small."""

    def __init__(self, max_active: int = 1, *, proved: tuple[str, ...] = (READ, OTHER), **settings: Any) -> None:
        super().__init__(0)
        project: Any = self.project
        self.budget = Budget(PoolSettings(max_active=max_active, **settings))
        self.target_pool = TargetPool(project, AtOnce(self.opened), self.budget, self.clock, lambda: 0.5)
        real: Any = self.target_pool
        self._pool = real
        for sql in proved:
            self.prove(sql)

    def opened(self, identity: Identity) -> Server:
        """One more of that identity."""
        server: Any = self.server()
        server.identity = identity
        self.servers.append(server)
        opened: Server = server
        return opened

    def prove(self, sql: str, times: int = PROVED_BY) -> None:
        """A client runs it, by default as often as it takes to be trusted."""
        client = self.come()
        for _ in range(times):
            self.send(query(sql), client)
            while self.busy():  # after some, PgBeam has a question of its own
                self.answer(done())
            assert client.take() == done() + READY
        client.hang_up("left")

    def come(self, user: str = "app") -> FakeClient:
        """One more client."""
        client, conversation = self.join()
        conversation.session.identity = Identity(user, "shop")
        return client

    def crowd(self, count: int) -> list[FakeClient]:
        """So many more."""
        return [self.come() for _ in range(count)]

    def ask(self, client: FakeClient, sql: str = READ) -> None:
        """A simple query whose reply does not come yet."""
        assert self.send(query(sql), client) == b""

    def busy(self) -> list[Any]:
        """The servers that owe something, in the order of their opening."""
        return [server for server in self.servers if server.alive and server.owed]

    def answer(self, *replies: bytes, server: Any = None) -> None:
        """That server, or the only busy one, answers so many turns: each with what is given and ReadyForQuery."""
        if server is None:
            (server,) = self.busy()
        self.say(b"".join(reply + READY for reply in replies), server)

    def look_twice(self) -> None:
        """Time passes, in which the pool looks twice whether a turn holds up those behind it."""
        for _ in range(2):
            self.clock.advance(WATCH_EVERY_S)
            self.target_pool.watch()
