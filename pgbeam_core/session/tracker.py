"""What statements change in a session: settings, pins, what is prepared, the end of transactions.

That something was sent is enough for the server to be in doubt, if it is of a kind that may leave what only the server
knows (`remains`); what the texts tell is booked when it has succeeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.api.query import Query, Role
from pgbeam_core.api.statement import Kind, SettingAction, Statement
from pgbeam_core.internal.inspection import InspectionResult, mentioned
from pgbeam_core.session.catalog_view import CatalogView
from pgbeam_core.session.client_statements import ClientStatements
from pgbeam_core.session.remains import ASKED_WORDS, KEPT_BY_DISCARD
from pgbeam_core.session.runtime import Runtime
from pgbeam_core.session.session import Session

if TYPE_CHECKING:
    from pgbeam_core.api.pool import Server

_MAY_DROP = frozenset({Kind.DDL, Kind.CLOSE, Kind.DEALLOCATE, Kind.UNLISTEN, Kind.MULTI})
"""What may take away the state that pins a session; which of it is left, the server knows."""
_DEFINES = frozenset({Kind.DDL, Kind.DO, Kind.CALL, Kind.TWO_PHASE, Kind.UNKNOWN})
"""What may change definitions, of tables, functions, rights or roles."""
_DEFINES_ANYWAY = frozenset({Kind.DO, Kind.CALL, Kind.UNKNOWN})
"""What may commit on the way, and then fail."""
_WORDS = ASKED_WORDS | {"function"}
"""What a statement "makes" that is not booked: only the server can tell."""
_ASKED_LAST = frozenset({"setting", "load", "backup"})
"""Pins that no question finds."""
_MOST_NAMES = 100
"""Parameters that are asked for by name."""
_FOUND = frozenset({"temp_table", "listen", "advisory_lock", "prepare", "with_hold", "slot", "origin"})
"""Pins that are asked for."""
_ROLLED_BACK = frozenset({"temp_table", "listen", "with_hold"})
"""Session state that a rollback takes back. Advisory locks, PREPARE and LOAD outlive it."""


class SessionTracker:
    """Follows one session through its statements."""

    __slots__ = (
        "_at_startup",
        "_client_statements",
        "_defined",
        "_new_pins",
        "_respell",
        "_runtime",
        "_session",
        "_touched",
        "catalog_view",
        "ended_transactions",
        "hidden",
        "maybe_set",
    )

    def __init__(self, session: Session, client_statements: ClientStatements, runtime: Runtime) -> None:
        self._session = session
        self._runtime = runtime
        self._client_statements = client_statements
        self._new_pins: set[str] = set()
        self._touched = False
        self._defined: Statement | None = None
        """The last one in the open transaction that may have changed definitions: others see them when it is over."""
        self._at_startup = False
        """The server has gone back to its own startup parameters; this client's application_name is not among them."""
        self._respell = False
        """Parameters were set that the server reports: it knows best what they are."""
        self.hidden = False
        """Code of users may have run on the server, and have set parameters that no catalog shows."""
        self.maybe_set: frozenset[str] = frozenset()
        """Parameters that it may have set and that no catalog shows."""
        self.catalog_view = CatalogView(session, runtime)
        self.ended_transactions: list[bool] = []
        """For each explicit transaction that has ended since last asked: was it committed?"""

    def statement_sent(self, statement: Statement, server: Server, now: float) -> None:
        """It goes to the server now: whatever becomes of it, what it may leave may be there from here on."""
        session = self._session
        own = session.keeps_server and server.target.role is Role.PRIMARY  # asked when the client leaves
        if own or self.catalog_view.may_leave(statement, now):
            self.doubt(server)
            if len(self.maybe_set) < _MOST_NAMES:
                named = mentioned(statement.text)
                # Rows in bulk name no parameters.
                self.maybe_set |= named if statement.kind in _DEFINES_ANYWAY else named - {""}
            if statement.kind in _DEFINES_ANYWAY:
                self._defined = statement
        elif session.pins and (statement.kind in _MAY_DROP or "function" in statement.makes):
            server.in_doubt = True
        if "backup" in statement.makes:
            self.pin("backup", server)  # it is there whatever comes behind it in the statement, and nobody can be asked

    @property
    def hidden_parameters(self) -> frozenset[str]:
        """Names with a dot of parameters that code of users may have set, as far as anybody knows."""
        catalog = self.catalog_view.catalog
        return self.maybe_set if catalog is None else self.maybe_set | catalog.parameters

    def doubt(self, server: Server) -> None:
        """Something goes to the server of which nobody knows what it leaves."""
        server.in_doubt = self.hidden = True

    def succeeded(self, statement: Statement, tag: bytes, server: Server) -> None:
        """One statement was completed with that command tag."""
        session = self._session
        if statement.settings:
            self._touched = self._respell = True
            self._at_startup = self._at_startup or resets_name(statement)
            session.settings.change(statement.settings)
            if any(change.name == "all" and change.action is SettingAction.RESET for change in statement.settings):
                session.variables.reset_all(in_transaction=session.in_transaction)
            if session.settings.unknown:
                server.in_doubt = True
            if session.settings.too_many:
                self.pin("setting", server)
        if statement.makes:
            for reason in statement.makes - _WORDS:
                self.pin(reason, server)
        if statement.drops:
            self._unpin(statement.drops, server)
        if session.pins and statement.kind in _MAY_DROP:
            server.in_doubt = True
        if statement.kind in _DEFINES:
            self._defined = statement
            self._runtime.tables_changed(statement)
        follow = _FOLLOW.get(statement.kind)
        if follow is not None:
            follow(self, statement, tag, server)

    def inspected(self, found: InspectionResult, server: Server) -> None:
        """The server was asked: these parameters are set in the session, and this state pins it."""
        session = self._session
        pins = found.pins | (session.pins & _ASKED_LAST)
        # A name that no text tells, and it may be in no catalog.
        if "" in session.settings.unknown or "" in self.maybe_set:
            pins = pins | {"setting"}
        values = found.values
        if found.user and found.user != session.identity.user:
            values["session_authorization"] = found.user
        session.settings.set_by_server(values)
        if session.settings.too_many:
            pins = pins | {"setting"}
        self.maybe_set = frozenset()
        server.settings = session.settings.now
        session.pins.clear()
        session.pins.update(pins)
        if "prepare" not in pins:
            self._client_statements.of_sql.clear()
        self.server_has_state(pins, server)

    @staticmethod
    def server_has_state(pins: set[str], server: Server) -> None:
        """That is on the server, and of what a question finds nothing else."""
        prepared = {"prepare"} if server.statements.client_names else set()
        server.state.difference_update(_FOUND - prepared)
        server.state.update(pins)

    def server_has_settings(self, server: Server, status: bytes) -> None:
        """A request is over: this server now has the parameters that the client has set."""
        if self._respell and status == b"I":
            self._respell = False
            if self._session.settings.respell(server.parameters):
                self._touched = True
        if not self._touched:
            return
        now = self._session.settings.now
        if self._at_startup and not self._session.keeps_server:
            now = {name: value for name, value in now.items() if name != "application_name"}
        server.settings = now
        self._touched = self._at_startup = False

    def pin(self, reason: str, server: Server) -> None:
        """The session now has state on this server that cannot follow it to another."""
        if reason not in self._session.pins:
            self._new_pins.add(reason)
        self._session.pins.add(reason)
        server.state.add(reason)

    def server_ready(self, was: bytes, status: bytes, *, failed: bool) -> None:
        """The server is ready, with that transaction status; `failed`: the request ended in an error."""
        if status == b"I":
            if was != b"I" and not self.ended_transactions:
                self.ended_transactions.append(not failed)
            self._transaction_over(committed=not failed)
            self._client_statements.portals.clear()
            self._known_anew()

    def queries_lost(self, queries: list[Query]) -> None:
        """The server is gone in the middle of these: what they define may be there."""
        for query in queries:
            for part in query.statement.parts or (query.statement,):
                if part.kind in _DEFINES:
                    self._defined = part
        self._known_anew()

    def _known_anew(self) -> None:
        """The transaction is over, whichever way: what was learnt of definitions while it was open is outdated."""
        if self._defined is not None:
            defined, self._defined = self._defined, None
            self._runtime.tables_changed(defined)

    def _transaction_over(self, *, committed: bool) -> None:
        self._session.settings.end_transaction(committed=committed)
        self._session.variables.end_transaction(committed=committed)
        if not committed:
            self._touched = True  # the server has gone back too, and may have been told otherwise in between
            self._session.pins -= self._new_pins & _ROLLED_BACK
        self._new_pins.clear()

    def _unpin(self, reasons: frozenset[str], server: Server) -> None:
        gone = set(self._session.pins) - KEPT_BY_DISCARD if "all" in reasons else set(reasons)
        self._session.pins -= gone
        server.state -= gone

    def _end(self, _statement: Statement, tag: bytes, _server: Server) -> None:
        """COMMIT or ROLLBACK; a COMMIT of a failed transaction says ROLLBACK."""
        if tag in (b"COMMIT", b"ROLLBACK", b"PREPARE TRANSACTION"):
            committed = tag != b"ROLLBACK"
            self.ended_transactions.append(committed)
            self._transaction_over(committed=committed)

    def _savepoint(self, statement: Statement, _tag: bytes, _server: Server) -> None:
        self._session.settings.savepoint(statement.subject or "")
        self._session.variables.savepoint(statement.subject or "")

    def _release(self, statement: Statement, _tag: bytes, _server: Server) -> None:
        self._session.settings.release_savepoint(statement.subject or "")
        self._session.variables.release_savepoint(statement.subject or "")

    def _rollback_to(self, statement: Statement, _tag: bytes, server: Server) -> None:
        self._touched = True
        if self._new_pins & _ROLLED_BACK:
            server.in_doubt = True  # what was made since the savepoint is gone again; what before, is not
        self._session.settings.rollback_to(statement.subject or "")
        self._session.variables.rollback_to(statement.subject or "")

    def _discard(self, statement: Statement, _tag: bytes, server: Server) -> None:
        if "all" not in statement.drops:
            return
        self._touched = self._at_startup = True
        self._session.settings.discard_all()
        self._session.variables.reset_all(in_transaction=False)
        self._client_statements.statements.clear()
        self._client_statements.of_sql.clear()
        self._client_statements.portals.clear()
        server.statements.clear()
        server.settings = {}

    def _prepare(self, statement: Statement, _tag: bytes, _server: Server) -> None:
        if statement.subject is not None:
            self._client_statements.of_sql.add(statement.subject.encode("utf-8", "surrogateescape"))

    def _deallocate(self, statement: Statement, _tag: bytes, server: Server) -> None:
        statements = self._client_statements.statements
        if statement.subject is not None:
            name = statement.subject.encode("utf-8", "surrogateescape")
            statements.pop(name, None)
            self._client_statements.of_sql.discard(name)
            server.statements.client_names.pop(name, None)
            return
        self._client_statements.of_sql.clear()
        for name in [name for name in statements if name]:
            del statements[name]
        server.statements.forget()
        server.statements.client_names.clear()


def resets_name(statement: Statement) -> bool:
    """Whether a statement sets application_name back to what it was at startup."""
    if statement.kind is Kind.DISCARD:
        return "all" in statement.drops
    resets = {change.name for change in statement.settings if change.action is SettingAction.RESET}
    return not resets.isdisjoint(("all", "application_name"))


_FOLLOW = {
    Kind.PREPARE: SessionTracker._prepare,
    Kind.COMMIT: SessionTracker._end,
    Kind.ROLLBACK: SessionTracker._end,
    Kind.TWO_PHASE: SessionTracker._end,
    Kind.SAVEPOINT: SessionTracker._savepoint,
    Kind.RELEASE: SessionTracker._release,
    Kind.ROLLBACK_TO: SessionTracker._rollback_to,
    Kind.DISCARD: SessionTracker._discard,
    Kind.DEALLOCATE: SessionTracker._deallocate,
}
