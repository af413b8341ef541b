"""The running PgBeam: what all conversations share, and what plugins are given at startup."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from pgbeam_core.api.pool import Identity, Lease, Opener, Pool
from pgbeam_core.api.query import Query, Target
from pgbeam_core.api.results import Result
from pgbeam_core.api.statement import Statement
from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.catalog.isolation import Isolation
from pgbeam_core.catalog.surveys import Survey
from pgbeam_core.console.room import ConsoleRoom
from pgbeam_core.control.broadcast import Broadcast
from pgbeam_core.control.registry import Control
from pgbeam_core.errors import PluginError, ServerUnavailable
from pgbeam_core.firing import Hooks
from pgbeam_core.internal.question import Question
from pgbeam_core.internal.rerun import Rerun
from pgbeam_core.net import descriptors
from pgbeam_core.net.auth.authority import Authority
from pgbeam_core.net.cancel import CancelKeys
from pgbeam_core.net.deadlines import LOGIN_TIMEOUT, PARTING_S, PAUSE, Deadlines
from pgbeam_core.net.entrance import Entrance
from pgbeam_core.net.overtime import Overtime
from pgbeam_core.net.unauthenticated import Unauthenticated
from pgbeam_core.session.large_messages import LargeMessages
from pgbeam_core.session.session import Session
from pgbeam_core.session.statement_hooks import StatementHooks
from pgbeam_core.settings import by_name_and_class
from pgbeam_core.sql.statements import Statements
from pgbeam_core.telemetry.stats import ProjectStats, StatsByDatabase
from pgbeam_core.upstream.upstreams import Upstreams

if TYPE_CHECKING:
    from pgbeam_core.catalog.catalog import Catalog
    from pgbeam_core.net.client import ClientProtocol
    from pgbeam_core.settings import Project, Settings

T = TypeVar("T")

RIGHTS_AGE = 60.0
"""Seconds; roles and rights that were changed past PgBeam hold for all statements after that."""
_DEFINED = "definitions"
"""Published: definitions have changed."""
_LEFT = "databases.left"
"""Published: a statement wants nobody in a database."""
_MOST_SURVEYS = 500
"""Databases whose catalogs are remembered. Beyond that all are forgotten, and asked for again."""


class Beam:
    """Settings, sessions, pools, and the means to run queries of one's own."""

    _function_call: Statement | None = None

    def __init__(
        self, settings: Settings, hooks: Hooks, reactor: Any, *, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        # For plugins.
        self.settings = settings
        """As they are now, all of them."""
        self.reactor: IReactorTime = reactor
        """Keeps time: `callLater`, and what Twisted builds on it. In a rehearsal it is a Clock."""
        self.now: Callable[[], float] = reactor.seconds
        """Monotonic seconds."""
        self.random = random
        """That many unguessable bytes."""
        self.sessions: dict[int, Session] = {}
        """The clients that have got past their startup packet, by session id."""
        self.control = Control()
        """What is answered on the control socket."""
        self.broadcast = Broadcast()
        """What workers tell each other."""
        self.definitions: int = 0
        """Counts the definitions of tables, functions and roles that were seen to change."""
        self.reads_may_write: bool = False
        """There is a database with code of users that no text shows, and that may write when somebody reads."""

        # For conversations and the service.
        self.hooks = hooks
        self.clients: set[ClientProtocol] = set()
        self.epoch = 0
        """Counts like `definitions`, and every RIGHTS_AGE: what servers knew before is renewed."""
        self.isolation = Isolation(reactor, self.pool)
        self.authority = Authority(self, self._project_of)
        """What is known of users: who they are, how to check them, how to log in as them."""
        self.cancel_keys = CancelKeys(random)
        self.large_messages = LargeMessages(reactor.callLater)
        """Large messages of clients that are not all there."""
        self.logins = Deadlines(reactor, LOGIN_TIMEOUT)
        """Of the clients that are logging in."""
        self.answers = Deadlines(reactor, settings.login_timeout_s)
        """Of the clients whose startup packet or password is waited for."""
        self.partings = Deadlines(reactor, PARTING_S)
        """Of the clients that have been sent away."""
        self.entrance = Entrance(settings, reactor)
        """What clients pass before they have a session."""
        self.unauthenticated = Unauthenticated(settings.max_unauthenticated)
        """The clients that have not logged in."""
        self.most_clients = descriptors.for_clients()
        """Clients that there are descriptors for."""
        self.unfinished = Deadlines(reactor, PAUSE)
        """Of the requests that clients have begun and not ended."""
        self.overtime = Overtime(reactor, lambda: self.settings)
        """Ends clients that take too long."""
        self.counted, self.console = StatsByDatabase(), ConsoleRoom(self)
        self.upstreams = Upstreams(self, self._project_of)
        self._settings_of = by_name_and_class(settings.plugin)
        self._ageing = LoopingCall(self._age)
        self._ageing.clock = reactor
        self.broadcast.subscribe(_DEFINED, self._defined_elsewhere)
        self.broadcast.subscribe(_LEFT, self._left_elsewhere)
        self._statement_hooks = StatementHooks(hooks)
        self._statements = Statements(judge=self._statement_hooks.template)
        self._pools: dict[Target, Pool] = {}
        self._surveys: dict[tuple[str | int, ...], Survey] = {}
        self._leftover: dict[Target, Project] = {}
        """Targets that the settings know no more, and clients still use."""

    # For conversations.

    def statement(self, text: bytes) -> Statement:
        """The statement of an SQL text; `parse` is fired when it was not remembered."""
        statement = self._statements.statement(text)
        if not statement._heard:
            self._statement_hooks.parse(statement)
        return statement

    def unread(self, text: bytes) -> Statement:
        """A text of which only the server knows where its strings end; `parse` is fired."""
        statement = self._statements.unread(text)
        self._statement_hooks.parse(statement)
        return statement

    @property
    def function_call(self) -> Statement:
        """What plugins are shown for a FunctionCall message. Made for the first one: no plugin hears of a statement
        before its `startup`."""
        if self._function_call is None:
            self._function_call = self._statements.function_call()
        return self._function_call

    def refused_by(self, statement: Statement) -> str | None:
        """The plugin that has failed in `template` or `parse`, and keeps a statement from being executed."""
        return self._statement_hooks.refused_by(statement)

    def catalog(self, session: Session) -> Catalog | None:
        """What is known of the catalog of a session's database; asked for where it is not."""
        return self.survey(session).catalog(session)

    def catalog_soon(self, session: Session, seconds: float) -> Deferred[Any] | None:
        """Fires when the catalog is known, or that time is over; None if nothing is to be waited for."""
        survey = self.survey(session)
        if survey.catalog(session) is not None or not survey.asking:
            return None
        return survey.wait(session, seconds)

    def tables_changed(self, statement: Statement) -> None:
        """A statement that defines tables, functions or roles, or may have, was completed somewhere."""
        if "temp_table" not in statement.makes:
            self._defined_elsewhere()
            self.broadcast.publish(_DEFINED, None)

    def outdated(self) -> None:
        """Tables were changed past PgBeam: what servers have prepared is parsed anew when a client parses it."""
        self._defined_elsewhere()

    def _defined_elsewhere(self, _value: object = None) -> None:
        self.definitions += 1
        self.epoch += 1

    def _surveyed(self, catalog: Catalog) -> None:
        self.reads_may_write = self.reads_may_write or catalog.reads_may_write

    def _age(self) -> None:
        self.epoch += 1

    def default_isolation(self, session: Session) -> str | None:
        """The isolation level of a transaction that names none, if the session has set nothing; None: not known."""
        return self.isolation.level(session)

    def stats(self, session: Session) -> ProjectStats:
        """Where to count what a session does."""
        return self.counted.of(session.project.name, session.database)

    @property
    def project_stats(self) -> dict[str, ProjectStats]:
        return self.counted.by_project()

    def _pool_of_plugins(self, project: Project, target: Target) -> Pool:
        found = self.hooks.pool(self, project, target)
        if found is not None:
            pool: Pool = found[1]
            return pool
        failed = sorted({plugin for hook, plugin in self.hooks.raised if hook == "pool"})
        if failed:
            raise PluginError(f'plugin "{failed[0]}" failed to provide a pool for {target.address}: see the log')
        raise PluginError("no plugin provides pools: add `pool` to the plugins")

    def later(self, call: Callable[[], None]) -> Any:
        """Call it in the next iteration of the loop, when others have had their turn. What it gives has `cancel`."""
        return self.reactor.callLater(0, call)

    def leave(self, session: Session, database: str) -> None:
        """Close the idle servers in a database of the session's project, in all workers."""
        self._left_elsewhere([session.project.name, database])
        self.broadcast.publish(_LEFT, [session.project.name, database])

    def _left_elsewhere(self, what: Any) -> None:
        project, database = what
        for target, pool in self._pools.items():
            if target.project == project:
                pool.leave(database)

    def opened(self, session: Session) -> None:
        """A client has sent its startup packet."""
        self.sessions[session.id] = session
        stats = self.counted.for_client(session)
        stats.clients += 1
        stats.clients_total += 1

    def closed(self, session: Session, reason: str) -> None:
        """It is gone."""
        if self.sessions.pop(session.id, None) is not None:
            self.counted.for_client(session).clients -= 1
            self.hooks.disconnect(session, reason)
            if self._leftover:
                self._put_away()

    def start(self) -> None:
        """Begin to doubt what was known for long."""
        self._ageing.start(RIGHTS_AGE, now=False)
        self.console.start()

    def stop(self) -> None:
        """The end of that."""
        if self._ageing.running:
            self._ageing.stop()
        self.authority.secrets.close()
        self.console.stop()
        self.upstreams.keep(())

    def reload(self, settings: Settings) -> None:
        """Take new settings, and let plugins know. Targets that are gone go with the last client that uses them.

        Raises SettingsError for a file of `[tls]` that is of no use, and has changed nothing then.
        """
        self.entrance.reload(settings)
        before, self.settings = self.settings.projects, settings
        self._settings_of = by_name_and_class(settings.plugin)
        changed = {name for name, project in before.items() if settings.projects.get(name) is not project}
        self._surveys = {place: survey for place, survey in self._surveys.items() if place[0] not in changed}
        self.authority.secrets.look_again()
        for name in changed:
            self.authority.secrets.project_changed(name)
        for project in settings.projects.values():
            self.pool(project.primary)
        self._put_away()
        self.overtime.reload(settings)
        self.answers.reset(settings.login_timeout_s)
        self.unauthenticated.bound(settings.max_unauthenticated)
        for name, call in self.hooks.freeze("reload"):
            try:
                call(self)
            except Exception:
                self.hooks.failed("reload", name)

    def _put_away(self) -> None:
        """Close the pools of targets that nobody uses any more."""
        current = {target for project in self.settings.projects.values() for target in project.targets}
        former = {session.project for session in self.sessions.values()} - set(self.settings.projects.values())
        self._leftover = {target: project for project in former for target in project.targets if target not in current}
        for target in [target for target in self._pools if target not in current and target not in self._leftover]:
            self._pools.pop(target).close("not in the settings any more")
        self.upstreams.keep({*current, *self._leftover})

    def _project_of(self, target: Target) -> Project:
        project = self.settings.projects.get(target.project)
        if project is None or target not in project.targets:
            project = self._leftover.get(target)
        if project is None:
            raise ServerUnavailable(f"{target.address} is not in the settings any more")
        return project

    # For plugins.

    def pool(self, target: Target) -> Pool:
        """The pool of a target, asked of the plugins when it is first needed."""
        pool = self._pools.get(target)
        if pool is None:
            project = self._project_of(target)
            pool = self._pools[target] = self._pool_of_plugins(project, target)
            self.console.steering.joins(target, pool)
        return pool

    @property
    def pools(self) -> dict[Target, Pool]:
        """The pools in use, by target."""
        return self._pools

    @overload
    def settings_of(self, plugin: type[T]) -> T: ...
    @overload
    def settings_of(self, plugin: str) -> Any: ...
    def settings_of(self, plugin: type[Any] | str) -> Any:
        """The validated instance of the dataclass that a plugin's `settings_spec` declared: by that class, or by the
        name of the plugin. Raises PluginError if no plugin that is on has declared it, or several have."""
        found = self._settings_of.get(plugin)
        if found is None:
            name = plugin if isinstance(plugin, str) else plugin.__name__
            raise PluginError(f"no settings of one plugin that is on are known as {name}")
        return found

    def opener(self, target: Target) -> Opener:
        """Opens servers of a target, for pools and health checks; of several hosts servers of the primary."""
        return self.upstreams.opener(target)

    def ask(
        self, target: Target, identity: Identity, sql: bytes, *, password: str | None = None
    ) -> Deferred[list[tuple[str | None, ...]]]:
        """Ask a target one question on a connection of its own, which no pool counts; give the rows as text.

        Without a password it uses what it has for that user. Fails with ServerUnavailable, ServerRefused,
        PasswordNeeded, or PgBeamError with the SQLSTATE of the query's own error. There is no timeout but the login's:
        cancel the Deferred to give up.
        """
        relay = self.authority.relay(target, identity.user, password)
        return Question(identity, sql, relay).ask(self.opener(target))

    def survey(self, session: Session) -> Survey:
        """What is known of the catalog of a session's database, on its project's primary."""
        project = session.project
        place: tuple[str | int, ...] = (project.name, session.identity.database, *session.identity.oids[2:])
        found = self._surveys.get(place)
        if found is None:
            if len(self._surveys) >= _MOST_SURVEYS:
                self._surveys.clear()
            found = Survey(
                lambda: self.pool(project.primary),
                self.reactor,
                lambda: self.definitions,
                self._defined_elsewhere,
                self._surveyed,
            )
            self._surveys[place] = found
        return found

    def rerun(self, query: Query, max_bytes: int) -> Deferred[Result]:
        """Run a query again, on behalf of its session but without its client, and keep the reply.

        Uses the session's identity and the settings it has now. Fails like a lease does; an error of the query is in
        the Result.
        """
        rerun = Rerun(query, max_bytes, self.now, self.epoch)
        got = self.pool(query.target or query.session.project.primary).lease(
            query.session.identity, dict(query.session.settings.now)
        )
        leased: Deferred[Lease] = succeed(got) if isinstance(got, Lease) else got
        return leased.addCallback(rerun.on)
