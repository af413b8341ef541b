"""Asks the plugins about executions, and gives their answers and refusals to the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError

from pgbeam_core.api.query import Query, Target
from pgbeam_core.api.results import Answer, Refusal
from pgbeam_core.api.statement import Kind
from pgbeam_core.firing import PluginRaised
from pgbeam_core.session import outcome
from pgbeam_core.session.failing import provoke
from pgbeam_core.session.local import ABORTED
from pgbeam_core.session.reporting import report
from pgbeam_core.session.state import Phase

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation

SendRequest = Callable[[], None]
Reply = Callable[[Answer], bytes]
Found = tuple[str, Any] | None

_EXECUTE_GIVES = "an Answer, a Refusal, a Deferred of one of these, or None"
_HEARD_WHEN_FAILED = (
    Kind.COMMIT,
    Kind.ROLLBACK,
    Kind.ROLLBACK_TO,
    Kind.TWO_PHASE,
    Kind.EMPTY,
    Kind.MULTI,
    Kind.UNKNOWN,
)
"""Statements that PostgreSQL looks at in a failed transaction, or that may begin with one of these."""
_ABORTED = Refusal("25P02", ABORTED)
CANCELLED = Refusal("57014", "canceling statement due to user request")


def broken(error: PluginRaised) -> Refusal:
    """What a client is told when a plugin that must not be passed over has failed."""
    return Refusal("XX000", str(error))


class HookDispatch:
    """The `route` and `execute` hooks for one conversation."""

    __slots__ = ("_conversation", "_hooks")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._hooks = conversation.runtime.hooks

    def ask_all(self, queries: list[Query], send_request: SendRequest, unexecuted: list[Query]) -> None:
        """A pipeline of several executions: each may be refused, none answered. unexecuted: see Plan."""
        conversation = self._conversation
        target = conversation.leasing.current_target()
        asked = [*queries, *unexecuted] if unexecuted else queries
        for query in asked:
            if not query.statement._heard and self._is_refused(query, asked):
                return
            if query.lazily:
                conversation.outside.decide(query)
            query.target = target
        found: Found
        try:
            found = self._hooks.execute_batch(conversation.session, asked, target, self._refuses)
        except PluginRaised as error:
            found = (error.plugin, broken(error))
        if found is not None:
            self.refuse(asked, found[0], found[1])
            return
        conversation.finder.find_server(queries, send_request)

    def _refuses(self, plugin: str, answer: Any) -> bool:
        """Whether that counts where nothing can be answered: in a pipeline."""
        if isinstance(answer, Refusal):
            return True
        if hasattr(answer, "cancel"):
            answer.addErrback(lambda _: None)
            answer.cancel()
        elif not isinstance(answer, Answer):
            self._hooks.unfit("execute", plugin, answer, _EXECUTE_GIVES)
        return False

    def ask(self, query: Query, send_request: SendRequest, reply: Reply) -> None:
        """Ask for a route and an answer; then either give that, or send the request to a server."""
        if not query.statement._heard and self._is_refused(query, [query]):
            return
        if query.lazily and self._conversation.outside.waits(query, lambda: self._ask(query, send_request, reply)):
            return
        self._ask(query, send_request, reply)

    def _is_refused(self, query: Query, queries: list[Query]) -> bool:
        """Whether the request is refused, because a plugin that must not be passed over failed at that text."""
        plugin = self._conversation.runtime.refused_by(query.statement)
        if plugin is not None:
            self.refuse(queries, plugin, broken(PluginRaised(plugin)))
        return plugin is not None

    def _ask(self, query: Query, send_request: SendRequest, reply: Reply) -> None:
        conversation, hooks = self._conversation, self._hooks
        session = conversation.session
        found: Found = None
        try:
            query.target = conversation.leasing.current_target()
            inside = query.in_transaction and not query.lazily
            if hooks.route.implementations and not inside and conversation.leasing.may_choose():
                query.target = self._route(query)
            if hooks.execute.implementations:
                found = hooks.execute.of_three(session, query, query.target)
        except PluginRaised as error:
            found = (error.plugin, broken(error))
        self._found(found, query, send_request, reply)

    def _route(self, query: Query) -> Target:
        """Where the plugins want it to go: what is no target of its project is nobody's choice."""
        session, route = self._conversation.session, self._hooks.route
        found = route(session, query)
        while found is not None:
            plugin, target = found
            if isinstance(target, Target) and target in session.project.targets:
                return target
            self._hooks.unfit("route", plugin, target, "a Target of session.project or None")
            found = route.after(plugin, session, query)
        return session.project.primary

    def _after(self, plugin: str, query: Query) -> Found:
        return self._hooks.execute.after(plugin, self._conversation.session, query, query.target)

    def _found(self, found: Found, query: Query, send_request: SendRequest, reply: Reply) -> None:
        while found is not None:
            plugin, answer = found
            if isinstance(answer, Refusal):
                self.refuse([query], plugin, answer)
                return
            if isinstance(answer, Answer) and query.answerable and (answer.description or not query.needs_description):
                self._answer(query, plugin, outcome.cut(answer, query.max_rows) if query.max_rows else answer, reply)
                return
            if hasattr(answer, "addCallbacks"):
                self._await(plugin, answer, query, send_request, reply)
                return
            # An Answer that cannot stand here: whoever comes behind has not been asked yet.
            try:
                if not isinstance(answer, Answer):
                    self._hooks.unfit("execute", plugin, answer, _EXECUTE_GIVES)
                found = self._after(plugin, query)
            except PluginRaised as error:
                found = (error.plugin, broken(error))
        if query.needs_server:
            self._conversation.finder.find_server([query], send_request)
        else:
            send_request()

    def _await(self, plugin: str, deferred: Any, query: Query, send_request: SendRequest, reply: Reply) -> None:
        conversation = self._conversation
        conversation.state.enter(Phase.ASKING)
        conversation.pending = deferred

        def came(answer: Any) -> None:
            if conversation.resumed():
                self._found(
                    (plugin, answer) if answer is not None else self._without(plugin, query), query, send_request, reply
                )
                conversation.input.resume()

        def failed(failure: Any) -> None:
            if not conversation.resumed():
                return
            if failure.check(CancelledError):
                self.refuse([query], "pgbeam", CANCELLED)
            else:
                self._found(self._failed(plugin, failure, query), query, send_request, reply)
            conversation.input.resume()

        deferred.addCallbacks(came, failed)

    def _without(self, plugin: str, query: Query) -> Found:
        """The plugin's Deferred came to None: what do those behind it say?"""
        try:
            return self._after(plugin, query)
        except PluginRaised as error:
            return error.plugin, broken(error)

    def _failed(self, plugin: str, failure: Any, query: Query) -> Found:
        """The plugin's Deferred failed, as if it had raised."""
        try:
            failure.raiseException()
        except Exception:
            try:
                self._hooks.failed("execute", plugin)
            except PluginRaised as error:
                return plugin, broken(error)
        return self._without(plugin, query)

    def _answer(self, query: Query, plugin: str, answer: Answer, reply: Reply) -> None:
        conversation = self._conversation
        said = reply(answer)
        if not query.in_transaction:
            conversation.stats.transactions += 1
        notices = report(conversation, query, outcome.answered(query, plugin, answer, conversation.runtime.now()))
        conversation.client.write(said + notices + conversation.ready_for_query())

    def end(self, queries: list[Query], refusal: Refusal) -> None:
        """An error of PgBeam's own, and the end of the session."""
        conversation = self._conversation
        now = conversation.runtime.now()
        for query in queries:
            report(conversation, query, outcome.refused(query, "pgbeam", refusal, now))
        conversation.client.hang_up(refusal.message, outcome.refusal_frame(refusal, "FATAL"))

    def refuse(self, queries: list[Query], source: str, refusal: Refusal) -> None:
        """An error of PgBeam's own, in place of the reply to this request."""
        conversation = self._conversation
        if conversation.session.status == b"E" and queries and queries[0].statement.kind not in _HEARD_WHEN_FAILED:
            refusal = _ABORTED  # a server would say nothing else
        now = conversation.runtime.now()
        said = outcome.refusal_frame(refusal) + b"".join(
            report(conversation, query, outcome.refused(query, source, refusal, now)) for query in queries
        )
        if conversation.session.in_transaction and not conversation.session.begun and conversation.phase is Phase.IDLE:
            conversation.transaction.fail()
        if conversation.session.begun or conversation.phase is Phase.OPEN:
            ended = conversation.ended
            conversation.finder.find_server([], lambda: provoke(conversation, said, ended=ended))
        elif conversation.ended:
            conversation.client.write(said + conversation.ready_for_query())
        else:
            conversation.client.write(said)
            conversation.input.skipping = True
