"""The extended query protocol: what one request asks for, told before a server is known.

A request is what a client sends up to a Sync or Flush. `Plan.read` names the statement behind every message, so that
hooks can be asked and a kept answer can be given without a server. `rewrite` then writes it for one server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pgbeam_core.api.query import Query
from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import local
from pgbeam_core.session.client_statements import ClientStatements, Portal
from pgbeam_core.session.large_texts import large_parse
from pgbeam_core.session.prepared import NO_TYPES, Prepared
from pgbeam_core.wire import frontend, names
from pgbeam_core.wire.large import Head

Lookup = Callable[[bytes, bool], Statement]
"""Gives the statement of a text; True: what comes before it may have changed how the server reads strings."""


class Step:
    """One message of a request, with what it is about."""

    __slots__ = (
        "frame",
        "kind",
        "local",
        "malformed",
        "max_rows",
        "name",
        "name_taken",
        "of_sql",
        "portal",
        "portal_name",
        "prepared",
        "speaks_of_none",
        "spoken_of",
        "starts",
        "tag",
    )

    def __init__(self, tag: int, frame: bytes) -> None:
        self.tag = tag
        self.frame = frame
        self.name = b""
        self.kind = 0
        self.prepared: Prepared | None = None
        self.portal: Portal | None = None
        self.portal_name = b""
        """Of a Bind; `name` is that of its statement."""
        self.max_rows = 0
        self.local = False
        """About a statement that PgBeam answers itself."""
        self.malformed = False
        self.of_sql = False
        """A Parse under a name that PREPARE has taken."""
        self.spoken_of: tuple[bytes, Prepared] | None = None
        """The statement of the protocol that its SQL speaks of, and the client's name for it."""
        self.speaks_of_none = False
        """A Describe of an EXECUTE that had columns, of a statement that is there no more."""
        self.name_taken = False
        """A Parse under a name that is taken."""
        self.starts = False
        """An Execute that starts a statement of the server."""


PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, FLUSH, SYNC = b"PBDECHS"
STATEMENT, PORTAL = b"SP"
_PASSED = frozenset((FLUSH, SYNC))
EXECUTE_ALL = b"E\0\0\0\x09\0\0\0\0\0"
"""The Execute that nearly all clients send: the unnamed portal, all rows."""


class Plan:
    """A request of the extended protocol, or a part of one, read. `earlier` is the part before."""

    __slots__ = (
        "at_flush",
        "executions",
        "needs_description",
        "needs_server",
        "new_of_sql",
        "new_portals",
        "new_statements",
        "request",
        "speaks_of_any",
        "steps",
        "unexecuted",
        "unsure",
    )

    def __init__(self, earlier: Plan | None = None) -> None:
        self.steps: list[Step] = []
        self.executions: list[Step] = []
        """The Executes that start a statement of the server."""
        self.unexecuted: list[Query] = []
        """Statements in which code of users may run as they are read or planned, though no Execute starts them."""
        self.needs_server = False
        """Whether any message but Sync and Flush has to be seen by a server."""
        self.needs_description = False
        """Whether the client asks for a RowDescription."""
        # All parts of a request have these in common: a copy for each would cost the square of their number.
        self.request: object = object() if earlier is None else earlier.request
        self.new_statements: dict[bytes, Prepared | None] = {} if earlier is None else earlier.new_statements
        self.new_portals: dict[bytes, Portal | None] = {} if earlier is None else earlier.new_portals
        self.new_of_sql: dict[bytes, bool] = {} if earlier is None else earlier.new_of_sql
        """Names that PREPARE takes, or DEALLOCATE frees."""
        self.unsure: bool = False if earlier is None else earlier.unsure
        """Something in the request may change how the server reads the strings of texts that come behind it."""
        self.speaks_of_any = False
        """Some of its SQL speaks of statements that the client has made by the protocol."""
        self.at_flush = False
        """The client has ended it with Flush, the server gets a Sync instead: see `end_at_flush`."""

    def read(self, frames: Sequence[bytes], client_statements: ClientStatements, lookup: Lookup) -> Plan:
        """Take in the messages of a request. A malformed one is left for the server to judge."""
        for frame in frames:
            step = Step(frame[0], frame)
            self.steps.append(step)
            try:
                if step.tag == BIND:  # batches are of these two
                    self._bind(step, client_statements, lookup)
                elif step.tag == EXECUTE:
                    self._execute(step, client_statements, lookup)
                elif step.tag in _READERS:
                    _READERS[step.tag](self, step, client_statements, lookup)
            except ProtocolViolation:
                step.malformed = True
            if not step.local and step.tag not in _PASSED:
                self.needs_server = True
        return self

    def _statement(self, name: bytes, client_statements: ClientStatements) -> Prepared | None:
        return self.new_statements[name] if name in self.new_statements else client_statements.statements.get(name)

    def _portal(self, name: bytes, client_statements: ClientStatements) -> Portal | None:
        return self.new_portals[name] if name in self.new_portals else client_statements.portals.get(name)

    def _parse(self, step: Step, client_statements: ClientStatements, lookup: Lookup) -> None:
        if isinstance(step.frame, Head):
            name, text, types = large_parse(step.frame)
        else:
            name, text, types_at = names.parse_names(step.frame)
            types = step.frame[types_at:]
        step.name = name
        there = self._statement(name, client_statements) if name else None
        step.name_taken = there is not None
        frame = step.frame if isinstance(step.frame, Head) else None
        step.prepared = there or Prepared(name, lookup(text, self.unsure), types, frame)
        step.local = local.is_local(step.prepared.statement)
        step.of_sql = self.new_of_sql.get(name, name in client_statements.of_sql)
        if not (step.name_taken or step.of_sql):
            self.new_statements[name] = step.prepared
        self._speaks(step, step.prepared, client_statements)

    def _speaks(self, step: Step, prepared: Prepared | None, client_statements: ClientStatements) -> None:
        """SQL that speaks of a statement of the protocol finds it only under the client's own name."""
        if prepared is None or (name := prepared.statement.speaks_of) is None:
            return
        spoken_of = self._statement(name, client_statements)
        if spoken_of is not None:
            step.spoken_of, self.speaks_of_any = (name, spoken_of), True

    def _speaks_of_none(self, prepared: Prepared | None, client_statements: ClientStatements) -> bool:
        if prepared is None or prepared.statement.kind is not Kind.EXECUTE or prepared.description is None:
            return False
        name = prepared.statement.speaks_of
        if name is None or prepared.description[:1] != b"T" or self._statement(name, client_statements) is not None:
            return False
        return not self.new_of_sql.get(name, client_statements.may_be_of_sql(name))

    def _executed(self, statement: Statement, client_statements: ClientStatements) -> None:
        """What comes behind it in the request is there only if it succeeds."""
        name = statement.speaks_of
        if statement.kind is Kind.PREPARE and name is not None:
            self.new_of_sql[name] = True
        elif statement.kind is Kind.DEALLOCATE:
            known = [*client_statements.statements, *self.new_statements, *client_statements.of_sql, *self.new_of_sql]
            for each in [name] if name is not None else known:
                if each:
                    self.new_statements[each], self.new_of_sql[each] = None, False

    def _bind(self, step: Step, client_statements: ClientStatements, lookup: Lookup) -> None:
        portal, name, _ = names.bind_names(step.frame)
        step.name, step.portal_name = name, portal
        step.prepared = self._statement(name, client_statements)
        if step.prepared is not None:
            step.portal = self.new_portals[portal] = Portal(step.prepared, step.frame, self.request)
            self.unsure = self.unsure or not step.prepared.statement.shareable
            step.local = local.is_local(step.prepared.statement)
        elif self.new_of_sql.get(name, False) or client_statements.may_be_of_sql(name):
            # It comes to the same as EXECUTE of that name; if there is none the server will say so.
            same = Prepared(name, lookup(_execute_of(name), False), NO_TYPES)
            step.portal = self.new_portals[portal] = Portal(same, step.frame, self.request)
        else:
            self.new_portals[portal] = None
        self._speaks(step, step.prepared, client_statements)

    def _describe(self, step: Step, client_statements: ClientStatements, _lookup: Lookup) -> None:
        self.needs_description = True
        step.kind, step.name = names.describe_target(step.frame)
        if step.kind == STATEMENT:
            step.prepared = self._statement(step.name, client_statements)
            step.speaks_of_none = self._speaks_of_none(step.prepared, client_statements)
        else:
            step.portal = self._portal(step.name, client_statements)
            step.prepared = step.portal.prepared if step.portal is not None else None
        self._speaks(step, step.prepared, client_statements)
        step.local = step.prepared is not None and local.is_local(step.prepared.statement)

    def _execute(self, step: Step, client_statements: ClientStatements, _lookup: Lookup) -> None:
        if step.frame != EXECUTE_ALL:
            step.name, step.max_rows = names.execute_target(step.frame)
        step.portal = self._portal(step.name, client_statements)
        if step.portal is None:
            return
        step.prepared = step.portal.prepared
        self.unsure = self.unsure or not step.prepared.statement.shareable
        step.local = local.is_local(step.prepared.statement)
        if not step.local and not step.portal.started:
            step.starts = True
            self.executions.append(step)
            self._speaks(step, step.prepared, client_statements)
            if step.prepared.statement.has_effects:
                self._executed(step.prepared.statement, client_statements)
        step.portal.started = True

    def _close(self, step: Step, client_statements: ClientStatements, _lookup: Lookup) -> None:
        step.kind, step.name = names.describe_target(step.frame)
        if step.kind == STATEMENT:
            step.prepared = self._statement(step.name, client_statements)
            self.new_statements[step.name], self.new_of_sql[step.name] = None, False
        else:
            step.portal = self._portal(step.name, client_statements)
            step.local = step.portal is not None and local.is_local(step.portal.prepared.statement)
            self.new_portals[step.name] = None

    def end_at_flush(self) -> None:
        """Have the server end it, though the client will go on: what it leaves is not bound to this request."""
        self.steps[-1] = Step(SYNC, frontend.SYNC)
        self.at_flush = True

    def binding_of(self, execution: Step) -> bytes | None:
        """The Bind message of an execution, when it is part of this request."""
        portal = execution.portal
        return portal.bind if portal is not None and portal.request is self.request else None


def _execute_of(name: bytes) -> bytes:
    return b'EXECUTE "' + name.replace(b'"', b'""') + b'"'


_READERS: dict[int, Callable[[Plan, Step, ClientStatements, Lookup], None]] = {
    PARSE: Plan._parse,
    DESCRIBE: Plan._describe,
    CLOSE: Plan._close,
}
