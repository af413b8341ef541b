"""Has servers tell what a session has left on them, before anybody else gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Lease
from pgbeam_core.api.query import Role
from pgbeam_core.internal import inspection
from pgbeam_core.internal.inspection import InspectionResult
from pgbeam_core.session.settings import HIDDEN
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgbeam_core.session.session import Session
    from pgbeam_core.session.tracker import SessionTracker


class Inspecting:
    """The inspections of one conversation's servers. A lease lasts until its server has answered."""

    __slots__ = ("_last", "_session", "_tracker", "_unanswered", "answered", "under_way")

    def __init__(self, session: Session, tracker: SessionTracker) -> None:
        self._session = session
        self._tracker = tracker
        self.under_way = 0
        """Questions that were not answered yet."""
        self.answered: Deferred[None] | None = None
        """Fires when the question under way has been answered."""
        self._last: list[Lease] = []
        """Servers that are being asked although the client has left."""
        self._unanswered = 0
        """Questions in a row that were answered with an error."""

    def ask(self, lease: Lease, then: Callable[[Lease], None]) -> None:
        """Have the server of this lease asked; `then` is called when it has answered, unless the client has left.

        The question goes out behind the client's reply.
        """
        session, tracker, server = self._session, self._tracker, lease.server
        server.in_doubt = False
        self.under_way += 1
        self.answered = Deferred(lambda _: None)
        names = session.settings.in_question | tracker.hidden_parameters
        # Nobody may ask in recovery, where nobody may have set one up.
        reported = server.parameters
        may_ask = reported.get("is_superuser") == "on" and reported.get("in_hot_standby", "off") == "off"
        superuser = may_ask and server.target.role is Role.PRIMARY
        sql = inspection.inspection_query(names, superuser=superuser, searches=tracker.catalog_view.catalog is None)
        server.statements.unnamed = None
        prepared = server.statements.count

        def told(found: InspectionResult | None, problem: str) -> None:
            if found is not None and found.kept is not None and found.kept < prepared:
                server.statements.mislaid()  # code of users can drop them all
            self._answered(lease, found, problem, then)

        owner = inspection.Inspection(told)
        server.send(Turn(owner, simple=True), frontend.Query(sql).to_bytes())

    def ask_last(self, lease: Lease) -> None:
        """The client has left: the server is asked for the sake of those who get it next, and then given back."""
        server = lease.server
        self._last.append(lease)
        if not server.in_doubt:
            return
        settled = server.settled()
        if settled is None:
            self.ask(lease, _nobody)
        else:
            settled.addCallback(lambda _: self.ask(lease, _nobody) if server.alive else self._farewell(lease))

    def _answered(
        self, lease: Lease, found: InspectionResult | None, problem: str, then: Callable[[Lease], None]
    ) -> None:
        """The server has told what the session left on it, or could not be asked."""
        self.under_way -= 1
        session, tracker, server = self._session, self._tracker, lease.server
        if found is None and server.alive:
            self._no_answer(lease, problem)
        elif found is not None and lease in self._last:
            tracker.server_has_state(found.pins, server)
            server.settings = {**server.settings, HIDDEN: ""}
        elif found is not None and session.lease is lease:
            self._unanswered = 0
            tracker.inspected(found, server)
        if lease in self._last:
            self._farewell(lease)
        else:
            then(lease)
        answered, self.answered = self.answered, None
        if answered is not None and not answered.called:
            answered.callback(None)

    def _no_answer(self, lease: Lease, problem: str) -> None:
        """A cancel request may have hit the question by chance: the server is asked once more. Else it is closed."""
        self._unanswered += 1
        lease.server.in_doubt = True
        if self._unanswered > 1 or lease in self._last:
            # A session that may have had something there cannot go on as if it had not.
            self._session.pins.add("unknown")
            lease.server.close(f"what was left on it could not be asked: {problem}")

    def _farewell(self, lease: Lease) -> None:
        """A client that has left needs that server no more."""
        if not self.under_way or not lease.server.alive:
            self._last.remove(lease)
            lease.release()


def _nobody(_lease: Lease) -> None:
    """The client has left: nobody wants to know."""
