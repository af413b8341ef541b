"""What all conversations of a PgBeam share: `session.runtime.Runtime`, as far as it is more than a promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Pool
from pgbeam_core.api.query import Target
from pgbeam_core.api.statement import Statement
from pgbeam_core.beam.definitions import Definitions
from pgbeam_core.beam.pools import TargetPools
from pgbeam_core.catalog.catalog import Catalog
from pgbeam_core.catalog.isolation import Isolation
from pgbeam_core.firing import Hooks
from pgbeam_core.net.deadlines import PAUSE, Deadlines
from pgbeam_core.session.large_messages import LargeMessages
from pgbeam_core.session.session import Session
from pgbeam_core.session.statement_hooks import StatementHooks
from pgbeam_core.settings import Settings
from pgbeam_core.sql.statements import Statements
from pgbeam_core.telemetry.stats import ProjectStats, StatsByDatabase


class ConversationRuntime:
    """Of one Beam, whose settings it is told anew at a reload."""

    def __init__(
        self,
        settings: Settings,
        hooks: Hooks,
        reactor: Any,
        pools: TargetPools,
        definitions: Definitions,
        isolation: Isolation,
        counted: StatsByDatabase,
    ) -> None:
        self.settings = settings
        self.hooks = hooks
        self.now: Callable[[], float] = reactor.seconds
        self.large_messages = LargeMessages(reactor.callLater)
        """Large messages of clients that are not all there."""
        self.unfinished = Deadlines(reactor, PAUSE)
        """Of the requests that clients have begun and not ended."""
        self._reactor = reactor
        self._pools = pools
        self._definitions = definitions
        self._isolation = isolation
        self._counted = counted
        self._statement_hooks = StatementHooks(hooks)
        self._statements = Statements(judge=self._statement_hooks.template)
        self._function_call: Statement | None = None

    @property
    def epoch(self) -> int:
        """Counts changes of definitions, and the minutes."""
        return self._definitions.epoch

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

    def pool(self, target: Target) -> Pool:
        return self._pools.pool(target)

    def leave(self, session: Session, database: str) -> None:
        """Close the idle servers in a database of the session's project, in all workers."""
        self._pools.leave(session, database)

    def default_isolation(self, session: Session) -> str | None:
        """The isolation level of a transaction that names none, if the session has set nothing; None: not known."""
        return self._isolation.level(session)

    def stats(self, session: Session) -> ProjectStats:
        """Where to count what a session does."""
        return self._counted.of(session.project.name, session.database)

    def catalog(self, session: Session) -> Catalog | None:
        """What is known of the catalog of a session's database; asked for where it is not."""
        return self._definitions.survey(session).catalog(session)

    def catalog_soon(self, session: Session, seconds: float) -> Deferred[Any] | None:
        """Fires when the catalog is known, or that time is over; None if nothing is to be waited for."""
        survey = self._definitions.survey(session)
        if survey.catalog(session) is not None or not survey.asking:
            return None
        return survey.wait(session, seconds)

    def tables_changed(self, statement: Statement) -> None:
        """A statement that defines tables, functions or roles, or may have, was completed somewhere."""
        if "temp_table" not in statement.makes:
            self._definitions.changed_here()

    def outdated(self) -> None:
        """Tables were changed past PgBeam: what servers have prepared is parsed anew when a client parses it."""
        self._definitions.changed()

    def later(self, call: Callable[[], None]) -> Any:
        """Call it in the next iteration of the loop, when others have had their turn. What it gives has `cancel`."""
        return self._reactor.callLater(0, call)
