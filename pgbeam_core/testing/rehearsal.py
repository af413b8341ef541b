"""PgBeam as it is, with plugins of your choice, without sockets and real time."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import TracebackType
from typing import Any, Self

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_core.api.hookspecs import hookimpl
from pgbeam_core.api.opener import Opener
from pgbeam_core.api.query import Query, Target
from pgbeam_core.api.results import Result
from pgbeam_core.beam import Beam
from pgbeam_core.firing import Hooks
from pgbeam_core.net.client import ClientProtocol
from pgbeam_core.plugins import assemble, specs
from pgbeam_core.settings import Merged, Settings, reloaded, validate
from pgbeam_core.settings.where import Origin
from pgbeam_core.testing.chunks import Chunks, in_one_piece
from pgbeam_core.testing.clients import Client
from pgbeam_core.testing.fake_postgres import FakePostgres
from pgbeam_core.testing.frames import startup
from pgbeam_core.testing.servers import MemoryOpener, SimplePools
from pgbeam_core.testing.wires import Wires

PRIMARY = "primary:5432"
PROJECT = "shop"


class Rehearsal:
    """A PgBeam that stands still between two calls.

    plugins: by name, first to be asked first; without one that gives pools, a simple one does. settings: by
    plugin, as `[plugins.<name>]` would have them. project: what `[projects.shop]` may hold beside `upstream`. top: what
    stands at the top of settings.toml.
    servers: by host:port; "primary:5432" is there anyway. Use it as a context, or call `close`.
    """

    def __init__(
        self,
        plugins: Mapping[str, object],
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        project: Mapping[str, Any] | None = None,
        top: Mapping[str, Any] | None = None,
        servers: Mapping[str, FakePostgres] | None = None,
        chunks: Chunks = in_one_piece,
    ) -> None:
        self.clock = Clock()
        self.servers = {PRIMARY: FakePostgres(), **(servers or {})}
        self.results: list[tuple[Query, Result]] = []
        """Every execution and how it ended, oldest first."""
        self._wires = Wires(chunks)
        manager = assemble([("rehearsal", _Recorder(self.results)), *plugins.items(), ("servers", SimplePools())])
        self._specs = specs(manager)
        self._order = [*plugins]
        found = self._settings(settings or {}, project or {}, top or {})
        self.hooks = Hooks.of(manager, found.plugin)
        self.beam = _Beam(found, self.hooks, self.clock, self._opener)
        for _, call in self.hooks.freeze("startup"):
            _must_be_done(call(self.beam))
        self.pump()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def primary(self) -> FakePostgres:
        """The server that queries go to unless a plugin knows better."""
        return self.servers[PRIMARY]

    def login(
        self,
        user: str = "app",
        database: str = "shop",
        *,
        peer: str = "192.0.2.1",
        password: str | None = None,
        **more: str,
    ) -> Client:
        """A client of that address, logged in or refused (`Client.refusal`). `more` are startup parameters.

        Where the server asks for a password and none is given, the client is left at that point.
        """
        client = self.call(peer=peer)
        client.log_in(startup(user, database, **more), password)
        return client

    def call(self, *, peer: str = "192.0.2.1") -> Client:
        """A client that has connected and not said a word."""
        client = Client(self.pump)
        self._wires.join(client, ClientProtocol(self.beam), caller_address=peer)
        return client

    def reload(
        self,
        *,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        project: Mapping[str, Any] | None = None,
        top: Mapping[str, Any] | None = None,
    ) -> None:
        """New settings, in place of those that were given at first, as SIGHUP brings them."""
        fresh, _ = reloaded(self.beam.settings, self._settings(settings or {}, project or {}, top or {}))
        self.beam.reload(fresh)
        self.pump()

    def advance(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, in steps, everything that is sent meanwhile arriving."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            self.pump()
            seconds -= step

    def pump(self) -> None:
        """Let everything arrive that is under way."""
        self._wires.pump()

    def stats(self) -> dict[str, Any]:
        """What each plugin's `stats` gives, by plugin."""
        return dict(self.hooks.stats())

    def close(self) -> None:
        """Send all clients away and shut the plugins down."""
        for client in list(self.beam.clients):
            client.hang_up("the rehearsal is over")
        for pool in self.beam.pools.values():
            pool.close("the rehearsal is over")
        self.pump()
        for _, call in reversed(self.hooks.freeze("shutdown")):
            _must_be_done(call(self.beam))
        self.pump()

    def _settings(
        self, plugins: Mapping[str, Mapping[str, Any]], project: Mapping[str, Any], top: Mapping[str, Any]
    ) -> Settings:
        merged = Merged()
        shop = {"upstream": f"postgresql://{PRIMARY}?sslmode=disable", **project}
        tables = {**top, "plugins": {"order": self._order, **plugins}, "projects": {PROJECT: shop}}
        merged.lay(tables, Origin("rehearsal"))
        return validate(merged, self._specs)

    def _opener(self, target: Target) -> Opener:
        return MemoryOpener(self.beam, target, self.servers[target.address], self._wires, self.clock)


class _Beam(Beam):
    """One whose servers are in memory."""

    remembers_servers = False
    """Whether a login of a user that a server has let in before needs none."""

    def __init__(self, settings: Any, hooks: Hooks, clock: Clock, opener: Any) -> None:
        super().__init__(settings, hooks, clock, random=Random(0).randbytes)
        self._opener = opener

    def opener(self, target: Target) -> Opener:
        """Opens connections to the FakePostgres of a target."""
        opener: Opener = self._opener(target)
        return opener


class _Recorder:
    """A plugin that notes every result."""

    def __init__(self, results: list[tuple[Query, Result]]) -> None:
        self._results = results

    @hookimpl
    def result(self, query: Query, result: Result) -> None:
        self._results.append((query, result))


def _must_be_done(waited: Any) -> None:
    """Raise what a startup or shutdown failed with; one that takes real time cannot be rehearsed."""
    if isinstance(waited, Deferred):
        ended: list[Any] = []
        waited.addBoth(ended.append)
        if not ended:
            raise RuntimeError("startup and shutdown must not wait in a rehearsal")
        if hasattr(ended[0], "raiseException"):
            ended[0].raiseException()
