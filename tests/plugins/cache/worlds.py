"""The cache among fakes: a clock, a pool that may be out of reach, sessions and queries made by hand."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_cache import Caching
from pgbeam_cache.settings import CacheSettings
from pgbeam_core import (
    Answer,
    Broadcast,
    Catalog,
    Control,
    Project,
    Query,
    Result,
    Role,
    Session,
    SettingAction,
    SettingChange,
    Target,
)
from pgbeam_core.sql.statements import Statements
from pgbeam_core.wire import backend, frontend

PRIMARY = Target("shop", Role.PRIMARY, "db.example.com", 5432)
REPLICA = Target("shop", Role.REPLICA, "replica-host", 5432)
SHOP = Project("shop", PRIMARY, (REPLICA,))


def reply(text: str = "1", *, described: bool = True) -> Answer:
    """A reply of one row with one column."""
    description = backend.row_description([("column", 25, -1)]) if described else None
    return Answer(description, backend.data_row([text.encode()]), backend.command_complete("SELECT 1"))


class FakeSurvey:
    """What is known of the catalog: all of it, at once, unless a test says otherwise."""

    def __init__(self, *rows: tuple[str, ...]) -> None:
        self.now: Catalog | None = Catalog(rows)
        self.definitions = 0
        self.unreachable = False
        self.waiting: list[Deferred[Catalog | None]] = []

    def peek(self) -> Catalog | None:
        """It."""
        return self.now

    @property
    def latest(self) -> Catalog | None:
        """The same."""
        return self.now

    def epoch(self) -> int:
        """How often definitions were seen to change."""
        return self.definitions

    def catalog(self, session: Session, max_age: float) -> Catalog | None:
        """The same."""
        return self.now

    def wait(self, session: Session, seconds: float) -> Deferred[Catalog | None]:
        """Comes when the test says so."""
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def tell(self, *rows: tuple[str, ...]) -> None:
        """It has come."""
        self.now = Catalog(rows)
        self.end()

    def end(self) -> None:
        """The survey is over, whatever it has found."""
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(self.now)


class FakeBeam:
    """What the cache needs of a Beam."""

    def __init__(self, settings: CacheSettings) -> None:
        self.reactor = Clock()
        self.random = os.urandom
        self.settings = SimpleNamespace(
            state_dir=Path("/nonexistent"), dashboard=False, workers=1, projects={"shop": SHOP}
        )
        self.cache_settings = settings
        self.control = Control()
        self.broadcast = Broadcast()
        self.console = SimpleNamespace(command=lambda *_: None)
        self.surveys = FakeSurvey()
        self.reads_may_write = False
        self.available = True
        self.reruns: list[Deferred[Result]] = []

    def now(self) -> float:
        """The clock's seconds."""
        return float(self.reactor.seconds())

    def settings_of(self, plugin: type) -> CacheSettings:
        """The cache's."""
        assert plugin is CacheSettings
        return self.cache_settings

    def survey(self, session: Session) -> FakeSurvey:
        """One for all databases."""
        return self.surveys

    def pool(self, target: Target) -> Any:
        """Tells whether the target is within reach."""
        return SimpleNamespace(available=self.available)

    def rerun(self, query: Query, max_bytes: int) -> Deferred[Result]:
        """A refresh that ends when the test says so."""
        self.reruns.append(Deferred())
        return self.reruns[-1]


class World:
    """A cache with its hooks, and everything around it."""

    def __init__(self, **settings: Any) -> None:
        self.beam = FakeBeam(CacheSettings(**{"enabled": True, "l2": "off", **settings}))
        self.statements = Statements()
        self.plugin = Caching()
        self.plugin.startup(self.beam)  # type: ignore[arg-type]
        self.plugin.cache.rules.close()  # the tests look when they want to

    @property
    def clock(self) -> Clock:
        """Time."""
        return self.beam.reactor

    @property
    def stats(self) -> Any:
        """What the plugin has counted."""
        return self.plugin.stats()

    def session(self, project: Project = SHOP, **startup: str) -> Session:
        """A client that has logged in."""
        given = {"user": "app", "database": "shop", **startup}
        return Session(project, "127.0.0.1", given, hostname=None, ask=self.plugin.variable)

    def query(
        self,
        session: Session,
        sql: str,
        *,
        values: tuple[bytes | None, ...] | None = None,
        types: bytes = b"\x00\x00",
        formats: tuple[int, ...] = (),
        result_formats: tuple[int, ...] = (),
        described: bool = True,
        max_rows: int = 0,
        in_transaction: bool = False,
        answerable: bool = True,
    ) -> Query:
        """One execution; in the extended protocol when there are values, an empty tuple included."""
        query = Query(
            session,
            self.statements.statement(sql.encode()),
            simple=values is None,
            in_transaction=in_transaction,
            answerable=answerable,
            arrived=self.beam.now(),
        )
        if values is not None:
            bind = frontend.Bind(b"", b"", values=values, formats=formats, result_formats=result_formats).to_bytes()
            query.bound(bind, types, described=described, max_rows=max_rows)
        return query

    def execute(self, query: Query, target: Target = PRIMARY) -> Any:
        """What the cache says to it: an Answer, a Deferred, or None for the server."""
        query.target = target
        return self.plugin.execute(query.session, query, target)

    def finish(
        self,
        query: Query,
        kept: Answer | None = None,
        *,
        error: tuple[str, str] | None = None,
        committed: bool = True,
        took: float = 0.0,
        source: str = "server",
    ) -> None:
        """The server's reply to a query is complete."""
        result = Result(
            source, "SELECT 1", 1, error=error, server_time=took, kept=kept, committed=committed, duration=took
        )
        self.plugin.result(query.session, query, result)

    def run(self, session: Session, sql: str, text: str = "1", **how: Any) -> str:
        """Execute, have the server reply with one row if it is asked, and give the value of the fact `cache`."""
        query = self.query(session, sql, **how)
        answer = self.execute(query)
        if answer is None:
            self.finish(query, reply(text, described=query.needs_description) if query.keep else None)
        return query.facts["cache"]

    def write(self, session: Session, sql: str, *, committed: bool = True) -> None:
        """A statement that the server executes, not a read."""
        query = self.query(session, sql, in_transaction=not committed)
        assert self.execute(query) is None
        self.finish(query, committed=committed)


def set_to(session: Session, name: str, value: str) -> None:
    """SET, as if the server had said that it went well."""
    session.settings.change([SettingChange(SettingAction.SET, name, value)])
    session.settings.end_transaction(committed=True)


def say(session: Session, name: str, value: str | None) -> None:
    """SET pgbeam.<name>."""
    session.variables.set(name, value, local=False, in_transaction=False)
