"""The running PgBeam as plugins are given it at startup, and as the service and the console run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity, Lease, Pool
from pgbeam_core.api.query import Query, Target
from pgbeam_core.api.results import Result
from pgbeam_core.beam.definitions import Definitions
from pgbeam_core.beam.pools import TargetPools
from pgbeam_core.beam.runtime import ConversationRuntime
from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.catalog.isolation import Isolation
from pgbeam_core.catalog.surveys import Survey
from pgbeam_core.console.room import ConsoleRoom
from pgbeam_core.control.broadcast import Broadcast
from pgbeam_core.control.registry import Control
from pgbeam_core.errors import PluginError
from pgbeam_core.firing import Hooks
from pgbeam_core.internal.dedicated_query import DedicatedQuery
from pgbeam_core.internal.rerun import Rerun
from pgbeam_core.net import descriptors
from pgbeam_core.net.auth.authority import Authority
from pgbeam_core.net.cancel import CancelKeys
from pgbeam_core.net.deadlines import LOGIN_TIMEOUT, PARTING_S, Deadlines
from pgbeam_core.net.entrance import Entrance
from pgbeam_core.net.overtime import Overtime
from pgbeam_core.net.unauthenticated import Unauthenticated
from pgbeam_core.session.session import Session
from pgbeam_core.settings import by_name_and_class
from pgbeam_core.telemetry.stats import ProjectStats, StatsByDatabase
from pgbeam_core.upstream.upstreams import Upstreams

if TYPE_CHECKING:
    from pgbeam_core.net.client import ClientProtocol
    from pgbeam_core.settings import Settings

T = TypeVar("T")


class Beam:
    """Settings, sessions, pools, and the means to run queries of one's own."""

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
        self.reads_may_write: bool = False
        """There is a database with code of users that no text shows, and that may write when somebody reads."""

        # For the service, the console and logins.
        self.hooks = hooks
        self.clients: set[ClientProtocol] = set()
        self._target_pools = TargetPools(self)
        self._definitions = Definitions(reactor, self.broadcast, self.pool, self._surveyed)
        self.isolation = Isolation(reactor, self.pool)
        self.authority = Authority(self, self._target_pools.project_of)
        """What is known of users: who they are, how to check them, how to log in as them."""
        self.cancel_keys = CancelKeys(random)
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
        self.overtime = Overtime(reactor, lambda: self.settings)
        """Ends clients that take too long."""
        self.counted, self.console = StatsByDatabase(), ConsoleRoom(self)
        self.upstreams = Upstreams(self, self._target_pools.project_of)
        self._settings_of = by_name_and_class(settings.plugin)
        self.runtime = ConversationRuntime(
            settings, hooks, reactor, self._target_pools, self._definitions, self.isolation, self.counted
        )

    def _surveyed(self, catalog: Catalog) -> None:
        self.reads_may_write = self.reads_may_write or catalog.reads_may_write

    # For the service, the console and logins.

    @property
    def project_stats(self) -> dict[str, ProjectStats]:
        return self.counted.by_project()

    def later(self, call: Callable[[], None]) -> Any:
        """Call it in the next iteration of the loop, when others have had their turn. What it gives has `cancel`."""
        return self.reactor.callLater(0, call)

    def opened(self, session: Session) -> None:
        """A client has sent its startup packet."""
        self.sessions[session.id] = session
        stats = self.counted.for_client(session)
        stats.clients += 1
        stats.clients_total += 1

    def closed(self, session: Session, reason: str) -> None:
        """A client has left. Told twice, it counts once; `disconnect` has fired when this returns."""
        if self.sessions.pop(session.id, None) is not None:
            self.counted.for_client(session).clients -= 1
            self.hooks.disconnect(session, reason)
            self._target_pools.client_gone()

    def start(self) -> None:
        """Begin to doubt what was known for long."""
        self._definitions.start()
        self.console.start()

    def stop(self) -> None:
        """The end of that, and of all that waits or is asked of its own."""
        self._definitions.stop()
        self.authority.secrets.close()
        self.console.stop()
        self.upstreams.keep(())

    def reload(self, settings: Settings) -> None:
        """Take new settings, and let plugins know. Targets that are gone go with the last client that uses them.

        Raises SettingsError for a file of `[tls]` that is of no use, and has changed nothing then.
        """
        self.entrance.reload(settings)
        before, self.settings = self.settings.projects, settings
        self.runtime.settings = settings
        self._settings_of = by_name_and_class(settings.plugin)
        changed = {name for name, project in before.items() if settings.projects.get(name) is not project}
        self._definitions.forget(changed)
        self.authority.secrets.look_again()
        for name in changed:
            self.authority.secrets.project_changed(name)
        self._target_pools.reload()
        self.overtime.reload(settings)
        self.answers.reset(settings.login_timeout_s)
        self.unauthenticated.bound(settings.max_unauthenticated)
        for name, call in self.hooks.freeze("reload"):
            try:
                call(self)
            except Exception:
                self.hooks.failed("reload", name)

    # For plugins.

    @property
    def definitions(self) -> int:
        """Counts the definitions of tables, functions and roles that were seen to change."""
        return self._definitions.changes

    def pool(self, target: Target) -> Pool:
        """The pool of a target, asked of the plugins when it is first needed."""
        return self._target_pools.pool(target)

    @property
    def pools(self) -> dict[Target, Pool]:
        """The pools in use, by target."""
        return self._target_pools.by_target

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
        return DedicatedQuery(identity, sql, relay).ask(self.opener(target))

    def survey(self, session: Session) -> Survey:
        """What is known of the catalog of a session's database, on its project's primary."""
        return self._definitions.survey(session)

    def rerun(self, query: Query, max_bytes: int) -> Deferred[Result]:
        """Run a query again, on behalf of its session but without its client, and keep the reply.

        Uses the session's identity and the settings it has now. Fails like a lease does; an error of the query is in
        the Result.
        """
        rerun = Rerun(query, max_bytes, self.now, self.runtime.epoch)
        got = self.pool(query.target or query.session.project.primary).lease(
            query.session.identity, dict(query.session.settings.now)
        )
        leased: Deferred[Lease] = succeed(got) if isinstance(got, Lease) else got
        return leased.addCallback(rerun.run_on)
