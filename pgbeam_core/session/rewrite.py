"""Writes a planned request of the extended protocol for one server: what goes out, and what is owed for it.

A statement that the server has under a name of PgBeam's own is bound under that name, and the Parse that the server
need not see is answered in its place. One that it lacks is prepared on the way. Everything else goes as it came.

What goes out and what is owed are written side by side, message by message, because nothing else says later what a
frame of the reply is about: BindComplete has no name. So each message that is sent has its step in the script, in the
same order, and so has each answer that no server gives: left out of either, all that follows would be taken for
something else.

Clients choose names for themselves, and servers are for all: a statement is on a server under a name of PgBeam's, told
by its text and parameter types, and may be there already for another client. What a name of the client's stands for is
known here alone, so Parse and Close of it are mostly answered here.
"""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.session import extended, local_steps, stand_ins, steps
from pgbeam_core.session.binding import Binding
from pgbeam_core.session.client_statements import ClientStatements
from pgbeam_core.session.extended import Plan, Step
from pgbeam_core.session.local_steps import Perform
from pgbeam_core.session.prepared import NO_TYPES, Prepared, ServerStatements
from pgbeam_core.session.preparing import StatementPreparer
from pgbeam_core.session.steps import Owed, say
from pgbeam_core.session.variables import VariableError
from pgbeam_core.wire import backend, frontend, names

PROVOKE = frontend.Bind(b"", b"pgbeam: refused", (), (), ()).to_bytes()
"""A message that any server refuses: it puts the server where an error of PgBeam's own puts the client."""

_CHANGED = "cached plan must not change result type"

Executed = Callable[[Statement], None]


class Rewriter(StatementPreparer):
    """Writes one request for one server. executed: called for every statement that an Execute has completed."""

    def __init__(
        self,
        client_statements: ClientStatements,
        server_statements: ServerStatements,
        *,
        executed: Executed,
        perform: Perform,
        failed: bool,
        alone: bool,
        prepare_once: bool,
        epoch: int,
        shared: bool,
    ) -> None:
        super().__init__(
            client_statements,
            server_statements,
            failed=failed,
            prepare_once=prepare_once,
            epoch=epoch,
            shared=shared,
        )
        self._executed = executed
        self._perform = perform
        self._alone = alone
        """No server is asked: errors are said, not provoked."""
        self._bind_owed: Owed = steps.BIND
        """What is owed for the last Bind. It knows the binding, which must not know it: a cycle would keep large
        values."""
        self.parses_said = False
        """The client has been told that its statements are parsed."""

    def write(self, plan: Plan) -> None:
        """Fill `out` and `script`; again for the next part of the request."""
        self.out, self.script, self.parses = [], [], 0
        self._evict(plan)
        for step in plan.steps:
            try:
                if step.spoken_of is not None:
                    self._parse_under_client_name(*step.spoken_of)
                if step.malformed:
                    self._send(step.frame, Owed(b"123TnCIs"))
                elif step.tag == extended.BIND and not step.local:  # batches are of these two
                    self._bind(step)
                elif step.tag == extended.EXECUTE and not step.local:
                    self._execute(step)
                elif step.local:
                    self.script.append(
                        local_steps.answer(step, self._client_statements, self._perform, failed=self._failed)
                    )
                else:
                    _WRITE[step.tag](self, step)
            except VariableError as error:
                # Not raised on: what comes before it in the request is done, what comes behind is skipped up to the
                # Sync, as after an error of the server's own.
                if self._refuse(backend.error_response("ERROR", error.sqlstate, error.message, None, error.hint)):
                    return

    def _refuse(self, error: bytes) -> bool:
        """An error in this place. True if what follows would be skipped."""
        if self._alone:
            self.script.append(say(error))
            return True
        self._send(PROVOKE, Owed(b"2", instead_of_error=error))
        return False

    def _parse(self, step: Step) -> None:
        prepared = step.prepared
        assert prepared is not None
        if step.of_sql:
            self._send(step.frame, Owed(b"1"))  # PREPARE has made one of that name: for the server to refuse
            return
        if step.name_taken:
            self._parse_taken_name(step)
            return
        if self.parses_said:
            # The request is sent once more: its client has ParseComplete already, and would count a second one.
            self._prepare(prepared, step.frame, forward=False)
            return
        if self._is_parsed(prepared):
            self.script.append(say(backend.PARSE_COMPLETE, self._client_statements.effect_of_parse(prepared)))
            return
        self._prepare(prepared, step.frame, forward=True)

    def _parse_taken_name(self, step: Step) -> None:
        """The client has a statement of that name: the server is made to say so, or what else is wrong."""
        there = step.prepared
        taken = self._failed and there is not None and not self._name_of(there)
        name = self._stand_in(NO_TYPES) if taken else self._server_name(step) or self._parse_under_name(there)
        frame = names.rename_parse(step.frame, name)
        self._send_renamed(frame, step.frame, Owed(b"1", renamed=(name, step.name)))

    def _server_name(self, step: Step) -> bytes:
        """The name to use on the server for the statement of a Bind or Describe; it is prepared there if need be."""
        prepared = step.prepared
        if prepared is None:
            if not step.name:
                # The unnamed statement, if any, is another client's: this one has none, and is to be told so.
                self._send(frontend.Close(extended.STATEMENT, b"").to_bytes(), steps.CLOSE_UNSEEN)
                self._server_statements.unnamed, self._has_coming_unnamed = None, False
            return step.name
        name = self._name_of(prepared)
        # In a failed transaction a Parse is refused, and the client would get that error instead of what it asks for.
        if name is None and self._failed and (types := stand_ins.types_for(step, prepared)) is not None:
            return self._stand_in(types)
        if name is None:
            self._prepare(prepared, None, forward=False)
            name = self._name_of(prepared)
            assert name is not None
            if step.tag == extended.BIND and prepared.description is not None and prepared.statement.reads:
                self._check_columns(prepared, name)
        return name

    def _check_columns(self, prepared: Prepared, name: bytes) -> None:
        """The client knows the columns from another server: they may have changed since, and it would not be told."""
        known = prepared.description

        def sees(frame: bytes) -> bytes | None:
            return None if frame == known else backend.error_response("ERROR", "0A000", _CHANGED)

        frame = frontend.Describe(extended.STATEMENT, name).to_bytes()
        self._send(frame, Owed(steps.DESCRIBE.ends, steps.DESCRIBE.within, forward=False, sees=sees))

    def _bind(self, step: Step) -> None:
        name = self._server_name(step)
        portal_name = step.portal_name
        binding = self._binding
        if binding is None or binding.portal_name != portal_name or binding.both_names != (name, step.name):
            renamed = name, step.name
            binding = self._binding = Binding(self._client_statements.portals, portal_name, renamed)
            self._bind_owed = Owed(b"2", effect=binding.bound, renamed=None if name == step.name else renamed)
        # Of portals of one name the last is the one that stays; if any of them fails, none does.
        binding.portal = step.portal
        frame = step.frame if name == step.name else binding.renamed(step.frame)
        self._send_renamed(frame, step.frame, self._bind_owed)

    def _describe(self, step: Step) -> None:
        if step.kind == extended.PORTAL:
            self._send(step.frame, steps.DESCRIBE)
            return
        prepared = step.prepared
        if step.speaks_of_none and prepared is not None and not self._failed:
            self.script.append(say(prepared.parameter_description or steps.NO_PARAMETERS))
            raise VariableError(prepared.speaks_of_nothing, sqlstate="26000")
        name = self._server_name(step)
        frame = step.frame if name == step.name else frontend.Describe(extended.STATEMENT, name).to_bytes()
        if prepared is None:
            self._send(frame, steps.DESCRIBE)
            return

        # Describe of a statement has two frames for an answer, each of which is learnt.
        self._send(frame, Owed(b"t", sees=prepared.has_parameters))
        self.script.append(Owed(steps.DESCRIBE.ends, sees=prepared.has_columns))

    def _execute(self, step: Step) -> None:
        owed = steps.EXECUTE if step.starts else steps.GO_ON
        if step.prepared is None or not step.prepared.statement.has_effects:
            self._send(step.frame, owed)  # a step that all have in common: batches make no object for a row
            return
        statement = step.prepared.statement
        executed = self._executed
        if statement.kind is Kind.DEALLOCATE:
            self._deallocate(statement.speaks_of)
        elif statement.kind in stand_ins.ENDS_FAILURE:
            self._failed = False  # or nothing of what comes behind it in the request is done

        def done(ok: bool) -> None:
            if ok:
                executed(statement)

        self._send(step.frame, Owed(owed.ends, owed.within, effect=done, starts=owed.starts))

    def _close(self, step: Step) -> None:
        if step.kind == extended.STATEMENT and step.prepared is not None and self._under_client_name(step.name) is None:
            # The server keeps it: other clients may bind it, and this one may parse it again.
            statements, name = self._client_statements.statements, step.name

            def closed(_ok: bool) -> None:
                statements.pop(name, None)

            self.script.append(say(backend.CLOSE_COMPLETE, closed))
            return
        client_statements, there, name = self._client_statements, self._server_statements, step.name
        if step.kind == extended.STATEMENT:  # one of SQL's PREPARE, or prepared for SQL, or none at all
            self._coming_names[name] = None

            def closed_there(ok: bool) -> None:
                if ok:
                    client_statements.statements.pop(name, None)
                    client_statements.of_sql.discard(name)
                    there.client_names.pop(name, None)

            self._send(step.frame, Owed(b"3", effect=closed_there))
            return

        self._send(step.frame, Owed(b"3", effect=self._client_statements.effect_of_close(name)))

    def _pass(self, step: Step) -> None:
        self.out.append(step.frame)


_WRITE: dict[int, Callable[[Rewriter, Step], None]] = {
    extended.PARSE: Rewriter._parse,
    extended.DESCRIBE: Rewriter._describe,
    extended.CLOSE: Rewriter._close,
    extended.FLUSH: Rewriter._pass,
    extended.SYNC: Rewriter._pass,
}
