"""Gives a server the run-time parameters of the client that has it: nothing may run with those of somebody else.

What a server takes for certain goes out ahead of the request, in the same write. What it might refuse, such as a role
that is gone by now, is waited for: the request must not run without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.api.pool import Server
from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Refusal
from pgbeam_core.api.statement import Kind, SettingAction, SettingChange
from pgbeam_core.internal.fitting import Fitting
from pgbeam_core.session.session import Session
from pgbeam_core.session.settings import difference, is_certain
from pgbeam_core.session.state import Phase
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend, frontend

if TYPE_CHECKING:
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.dispatch import SendRequest

_GIVES_UP = frozenset({Kind.SET, Kind.RESET, Kind.DISCARD})
"""Statements that may change what a server is not to be given any more."""
_OF_ROLES = frozenset({"role", "session_authorization"})


def send_settings(session: Session, server: Server) -> None:
    """Tell the server, ahead of a request, what it takes for certain; of all else `make_fit` has seen to it."""
    now = session.settings.now
    if server.settings is now or session.begun:
        return
    if server.settings != now:
        server.lift_timeouts()
    has = server.settings
    sql = difference(has, now) if is_certain(has, now) else None
    if sql is not None:
        server.send_internal(frontend.Query(sql).to_bytes(), "its settings could not be made those of the client")
        server.settings = now


def are_given(session: Session, server: Server, queries: list[Query]) -> bool:
    """Whether a server has the parameters of the client whose statements it is about to be sent.

    What they change or reset may be missing: no server may be willing to take it.
    """
    settings = session.settings
    return session.begun or server.settings in (settings.now, settings.without(changes_of(queries)))


def make_fit(
    conversation: Conversation, server: Server, queries: list[Query], send_request: SendRequest, *, again: bool = False
) -> None:
    """Give a server the client's parameters, and wait for that: nothing may run with those of somebody else.

    again: it has refused. What the client changes or resets now is then not given to it, so that the client can
    get rid of a value that will not do.
    """
    settings = conversation.session.settings
    wanted = settings.without(changes_of(queries)) if again else settings.now
    if server.settings != wanted:
        server.lift_timeouts()
    sql = difference(server.settings, wanted)
    if sql is None:
        send_request()
        return
    conversation.state.enter(Phase.WAITING)

    def over(error: bytes | None) -> None:
        if not conversation.resumed():
            return
        if error is None:
            server.settings = wanted
            send_request()
        elif not again and queries and all(query.statement.kind in _GIVES_UP for query in queries):
            make_fit(conversation, server, queries, send_request, again=True)
        else:
            _cannot_fit(conversation, error, queries)
        conversation.input.resume()

    def lost() -> None:
        if conversation.resumed():
            conversation.state.enter(Phase.BUSY)  # it is told in the place of the reply

    server.statements.unnamed = None
    server.send(Turn(Fitting(over, lost), simple=True), frontend.Query(sql).to_bytes())


def _cannot_fit(conversation: Conversation, error: bytes, queries: list[Query]) -> None:
    """The server has refused, and is as it was before: the statement fails, and the next one may reset it."""
    lease = conversation.session.lease
    if lease is not None:
        conversation.leasing.give_back(lease)
        conversation.leasing.come_home()
    fields = backend.error_fields(error)
    refusal = Refusal(fields.get("C", "XX000"), fields.get("M", ""), fields.get("D"), fields.get("H"))
    conversation.input.drop_batch()
    conversation.dispatch.refuse(queries, "pgbeam", refusal)


def gives_up_role(queries: list[Query]) -> bool:
    """Whether the role that a server was told is of no account: it is changed or reset by these."""
    if not all(query.statement.kind in _GIVES_UP for query in queries):
        return False
    return any(change.name in _OF_ROLES and not change.local for change in changes_of(queries))


def changes_of(queries: list[Query]) -> list[SettingChange]:
    """What statements of `_GIVES_UP` change, DISCARD ALL included."""
    found = [change for query in queries for change in query.statement.settings]
    if any("all" in query.statement.drops for query in queries):
        found += [SettingChange(SettingAction.RESET, name) for name in ("all", "session_authorization", "role")]
    return found
