"""Writes a planned request of the extended protocol for one server: what goes out, and what is owed for it.

A statement that the server has under a name of PgBeam's own is bound under that name, and the Parse that the server
need not see is answered in its place. One that it lacks is prepared on the way. Everything else goes as it came.
"""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session import extended, local, stand_ins, steps
from pgbeam_core.session.binding import Binding
from pgbeam_core.session.extended import ClientStatements, Plan, Step
from pgbeam_core.session.prepared import NO_TYPES, Key, Prepared, ServerStatements
from pgbeam_core.session.steps import Owed, say
from pgbeam_core.session.variables import VariableError
from pgbeam_core.wire import backend, frontend, names
from pgbeam_core.wire.large import HEAD_BYTES, rest_of

PROVOKE = frontend.Bind(b"", b"pgbeam: refused", (), (), ()).to_bytes()
"""A message that any server refuses: it puts the server where an error of PgBeam's own puts the client."""

_CHANGED = "cached plan must not change result type"

Executed = Callable[[Statement], None]
Perform = Callable[[Step], bytes]


class Rewriter:
    """Writes one request for one server.

    executed: called for every statement that an Execute has completed. perform: does a local statement and gives its
    reply. failed: the server is in a failed transaction, where it would refuse a Parse.
    """

    def __init__(
        self,
        client_statements: ClientStatements,
        held: ServerStatements,
        *,
        executed: Executed,
        perform: Perform,
        failed: bool,
        alone: bool,
        once: bool,
        epoch: int,
        shared: bool,
    ) -> None:
        self._client_statements = client_statements
        self._held = held
        self._executed = executed
        self._perform = perform
        self._failed = failed
        self._alone = alone
        """No server is asked: errors are said, not provoked."""
        self._once = once
        self._epoch = epoch
        self._shared = shared
        """Other clients' turns are under way on the server: what is unnamed there is anybody's."""
        self._coming: dict[Key, bytes] = {}
        self._coming_unnamed: Key | None = None
        self._has_coming_unnamed = False
        self._lent: dict[bytes, Key | None] = {}
        """Statements that will stand under their client's own name; None for one that will not."""
        self._all_gone = False
        """The server will have dropped all that have a name before it gets here."""
        self._binding: Binding | None = None
        """The last Bind, for the next: batches bind one statement again and again."""
        self._bind_owed: Owed = steps.BIND
        """What is owed for that. It knows the binding, which must not know it: a cycle would keep large values."""
        self.parses = 0
        """Statements that the server is made to parse, of the part that was written last."""
        self.parses_said = False
        """The client has been told that its statements are parsed."""
        self.out: list[bytes] = []
        self.script: list[Owed] = []

    def write(self, plan: Plan) -> None:
        """Fill `out` and `script`; again for the next part of the request."""
        self.out, self.script, self.parses = [], [], 0
        self._evict(plan)
        for step in plan.steps:
            try:
                if step.lends is not None:
                    self._lend(*step.lends)
                if step.malformed:
                    self._send(step.frame, Owed(b"123TnCIs"))
                elif step.tag == extended.BIND and not step.local:  # batches are of these two
                    self._bind(step)
                elif step.tag == extended.EXECUTE and not step.local:
                    self._execute(step)
                else:
                    (_LOCAL if step.local else _SERVER)[step.tag](self, step)
            except VariableError as error:
                if self._refuse(backend.error_response("ERROR", error.sqlstate, error.message, None, error.hint)):
                    return

    def _send(self, frame: bytes, owed: Owed) -> None:
        self.out.append(frame)
        if len(frame) >= HEAD_BYTES:
            self.out += rest_of(frame)
        self.script.append(owed)

    def _send_renamed(self, frame: bytes, whole: bytes, owed: Owed) -> None:
        """A message under another name; `whole` is what it was, of which there may be more to send."""
        self._send(frame, owed)
        if len(whole) >= HEAD_BYTES and frame is not whole:
            self.out += rest_of(whole)

    def _refuse(self, error: bytes) -> bool:
        """An error in this place. True if what follows would be skipped."""
        if self._alone:
            self.script.append(say(error))
            return True
        self._send(PROVOKE, Owed(b"2", instead_of_error=error))
        return False

    def _evict(self, plan: Plan) -> None:
        held = self._held
        while held.stale:
            self._send(frontend.Close(extended.STATEMENT, held.stale.pop()).to_bytes(), steps.CLOSE_UNSEEN)
        if len(held.named) > held.limit:
            needed = {step.prepared.key for step in plan.steps if step.prepared is not None}
            for name in held.surplus(needed):
                self._send(frontend.Close(extended.STATEMENT, name).to_bytes(), steps.CLOSE_UNSEEN)

    def _lend(self, name: bytes, prepared: Prepared) -> None:
        """SQL that comes next speaks of a statement by its client's name."""
        held, key = self._held, prepared.key
        if self._failed or self._is_lent(name) == key:
            return
        self._lent[name] = key

        def lent(ok: bool) -> None:
            if ok:
                held.lent[name] = key

        self._send(frontend.Close(extended.STATEMENT, name).to_bytes(), steps.CLOSE_UNSEEN)
        self._send(prepared.parse_frame(name), Owed(b"1", forward=False, effect=lent))
        self.out += prepared.rest

    def _is_lent(self, name: bytes) -> Key | None:
        return self._lent[name] if name in self._lent else self._held.lent.get(name)

    # What a server has to see.

    def _parse(self, step: Step) -> None:
        prepared = step.prepared
        assert prepared is not None
        if step.of_sql:
            self._send(step.frame, Owed(b"1"))  # for the server to refuse
            return
        if step.twice:
            self._parse_twice(step)
            return
        if self.parses_said:
            self._prepare(prepared, step.frame, forward=False)
            return
        if self._is_parsed(prepared):
            self.script.append(say(backend.PARSE_COMPLETE, self._remembering(prepared)))
            return
        self._prepare(prepared, step.frame, forward=True)

    def _is_parsed(self, prepared: Prepared) -> bool:
        """Whether the server would parse it to what it has: not in a failed transaction, nor after tables changed."""
        key = prepared.key
        if self._failed or prepared.statement.speaks_of is not None:
            return False
        if key in self._coming:
            return True
        return not self._all_gone and key in self._held.named and self._held.epochs.get(key) == self._epoch

    def _parse_twice(self, step: Step) -> None:
        """The client has a statement of that name: the server is made to say so, or what else is wrong."""
        there = step.prepared
        taken = self._failed and there is not None and not self._name_of(there)
        name = self._stand_in(NO_TYPES) if taken else self._server_name(step) or self._named(there)
        frame = names.rename_parse(step.frame, name)
        self._send_renamed(frame, step.frame, Owed(b"1", named=(name, step.name)))

    def _stand_in(self, types: bytes) -> bytes:
        """A name for a statement that a server in a failed transaction takes too, with parameters of these types."""
        name, frame, owed = stand_ins.parse(self._held, types)
        self._send(frame, owed)
        return name

    def _named(self, prepared: Prepared | None) -> bytes:
        """Have the server parse a statement under a name, though it has it unnamed."""
        assert prepared is not None
        name = self._held.new_name()
        self._prepare_as(name, prepared, None, forward=False)
        return name

    def _prepare(self, prepared: Prepared, frame: bytes | None, *, forward: bool) -> None:
        """Have the server parse a statement that it lacks, under a name of its own or as the unnamed one."""
        name = self._held.new_name() if self._worth_a_name(prepared) else b""
        self._prepare_as(name, prepared, frame, forward=forward)

    def _prepare_as(self, name: bytes, prepared: Prepared, frame: bytes | None, *, forward: bool) -> None:
        rest: list[bytes] = []
        if frame is None or name != prepared.name or prepared.statement.annotated:
            frame, rest = prepared.parse_frame(name), prepared.rest
        key = prepared.key
        if name:
            self._coming[key] = name
        else:
            self._coming_unnamed, self._has_coming_unnamed = key, True
        remember = self._remembering(prepared) if forward else None
        held, client_statements, epoch, shared = self._held, self._client_statements, self._epoch, self._shared

        def parsed(ok: bool) -> None:
            if not ok:
                if not name:
                    held.unnamed = None
                if forward and not prepared.name:
                    client_statements.statements.pop(b"", None)
                return
            if name:
                held.hold(key, name, epoch)
            else:
                held.unnamed = None if shared else key
            if remember is not None:
                remember(True)

        self.parses += 1
        self._send(frame, Owed(b"1", forward=forward, effect=parsed))
        self.out += rest

    def _worth_a_name(self, prepared: Prepared) -> bool:
        """A name costs the server memory: it is for what will be bound again."""
        if self._failed:
            return False  # all that passes is the end of the transaction, however often it is parsed
        if prepared.name:
            return True
        prepared.statement._parses += 1
        return self._once and prepared.statement._parses > 1

    def _remembering(self, prepared: Prepared) -> Callable[[bool], None]:
        statements = self._client_statements.statements

        def remember(ok: bool) -> None:
            if ok:
                statements[prepared.name] = prepared

        return remember

    def _name_of(self, prepared: Prepared) -> bytes | None:
        """The name under which the server has it, or will have it when it gets here.

        What speaks of another statement (EXECUTE x) is what that was when it was parsed: only this request's will do.
        """
        key = prepared.key
        if key in self._coming:
            return self._coming[key]
        if prepared.statement.speaks_of is not None:
            return b"" if self._has_coming_unnamed and self._coming_unnamed == key else None
        name = self._held.named.get(key) if not self._all_gone else None
        if name is not None:
            self._held.named.move_to_end(key)
            return name
        unnamed = self._held.unnamed if not self._shared else None
        if self._has_coming_unnamed:
            unnamed = self._coming_unnamed
        return b"" if unnamed == key else None

    def _server_name(self, step: Step) -> bytes:
        """The name to use on the server for the statement of a Bind or Describe; it is prepared there if need be."""
        prepared = step.prepared
        if prepared is None:
            if not step.name:
                # The unnamed statement, if any, is another client's: this one has none, and is to be told so.
                self._send(frontend.Close(extended.STATEMENT, b"").to_bytes(), steps.CLOSE_UNSEEN)
                self._held.unnamed, self._has_coming_unnamed = None, False
            return step.name
        name = self._name_of(prepared)
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
        if binding is None or binding.portal_name != portal_name or binding.named != (name, step.name):
            named = name, step.name
            binding = self._binding = Binding(self._client_statements.portals, portal_name, named)
            self._bind_owed = Owed(b"2", effect=binding.bound, named=None if name == step.name else named)
        # Of portals of one name the last is the one that stays; if any of them fails, none does.
        binding.portal = step.portal
        frame = step.frame if name == step.name else binding.renamed(step.frame)
        self._send_renamed(frame, step.frame, self._bind_owed)

    def _describe(self, step: Step) -> None:
        if step.kind == extended.PORTAL:
            self._send(step.frame, steps.DESCRIBE)
            return
        name = self._server_name(step)
        frame = step.frame if name == step.name else frontend.Describe(extended.STATEMENT, name).to_bytes()
        prepared = step.prepared
        if prepared is None:
            self._send(frame, steps.DESCRIBE)
            return

        def has_parameters(described: bytes) -> None:
            prepared.parameters = described

        def has_columns(described: bytes) -> None:
            prepared.description = described

        self._send(frame, Owed(b"t", sees=has_parameters))
        self.script.append(Owed(steps.DESCRIBE.ends, sees=has_columns))

    def _execute(self, step: Step) -> None:
        owed = steps.EXECUTE if step.starts else steps.GO_ON
        if step.prepared is None or not step.prepared.statement.has_effects:
            self._send(step.frame, owed)
            return
        statement = step.prepared.statement
        executed = self._executed
        if statement.kind is Kind.DEALLOCATE:
            self._deallocates(statement.speaks_of)
        elif statement.kind in stand_ins.ENDS_FAILURE:
            self._failed = False  # or nothing of what comes behind it in the request is done

        def done(ok: bool) -> None:
            if ok:
                executed(statement)

        self._send(step.frame, Owed(owed.ends, owed.within, effect=done, starts=owed.starts))

    def _deallocates(self, name: bytes | None) -> None:
        if name is not None:
            self._lent[name] = None
            return
        self._lent.update(dict.fromkeys([*self._lent, *self._held.lent]))
        self._coming.clear()
        self._binding = None
        self._all_gone = True

    def _close(self, step: Step) -> None:
        if step.kind == extended.STATEMENT and step.prepared is not None and self._is_lent(step.name) is None:
            statements, name = self._client_statements.statements, step.name

            def closed(_ok: bool) -> None:
                statements.pop(name, None)

            self.script.append(say(backend.CLOSE_COMPLETE, closed))
            return
        client_statements, held, name = self._client_statements, self._held, step.name
        if step.kind == extended.STATEMENT:  # one of SQL's PREPARE, or lent to SQL, or none at all
            self._lent[name] = None

            def closed_there(ok: bool) -> None:
                if ok:
                    client_statements.statements.pop(name, None)
                    client_statements.of_sql.discard(name)
                    held.lent.pop(name, None)

            self._send(step.frame, Owed(b"3", effect=closed_there))
            return

        self._send(step.frame, Owed(b"3", effect=self._closing(name)))

    def _closing(self, portal: bytes) -> Callable[[bool], None]:
        portals = self._client_statements.portals

        def closed(ok: bool) -> None:
            if ok:
                portals.pop(portal, None)

        return closed

    def _pass(self, step: Step) -> None:
        self.out.append(step.frame)

    # What PgBeam answers itself.

    def _need_no_rollback(self) -> None:
        if self._failed:
            raise VariableError(local.ABORTED, sqlstate="25P02")

    def _local_parse(self, step: Step) -> None:
        assert step.prepared is not None
        self._need_no_rollback()
        if step.twice:
            name = step.name.decode("utf-8", "replace")
            raise VariableError(f'prepared statement "{name}" already exists', sqlstate="42P05")
        self.script.append(say(backend.PARSE_COMPLETE, self._remembering(step.prepared)))

    def _local_bind(self, step: Step) -> None:
        self._need_no_rollback()
        portal_name = step.portal_name
        portals, portal = self._client_statements.portals, step.portal
        assert portal is not None
        self.script.append(say(backend.BIND_COMPLETE, lambda _ok: portals.__setitem__(portal_name, portal)))

    def _local_describe(self, step: Step) -> None:
        assert step.prepared is not None
        described = local.describe(step.prepared.statement)
        if local.shows(step.prepared.statement):
            self._need_no_rollback()
        if step.kind == extended.STATEMENT:
            described = local.parameters(step.prepared.statement) + described
        self.script.append(say(described))

    def _local_execute(self, step: Step) -> None:
        assert step.prepared is not None
        self.script.append(say(self._perform(step)))

    def _local_close(self, step: Step) -> None:
        self.script.append(say(backend.CLOSE_COMPLETE, self._closing(step.name)))


def _unknown(_writer: Rewriter, step: Step) -> None:
    raise ProtocolViolation(f"invalid frontend message type {step.tag}")


_SERVER: dict[int, Callable[[Rewriter, Step], None]] = {
    extended.PARSE: Rewriter._parse,
    extended.DESCRIBE: Rewriter._describe,
    extended.CLOSE: Rewriter._close,
    extended.FLUSH: Rewriter._pass,
    extended.SYNC: Rewriter._pass,
}
_LOCAL: dict[int, Callable[[Rewriter, Step], None]] = {
    extended.PARSE: Rewriter._local_parse,
    extended.BIND: Rewriter._local_bind,
    extended.DESCRIBE: Rewriter._local_describe,
    extended.EXECUTE: Rewriter._local_execute,
    extended.CLOSE: Rewriter._local_close,
}
