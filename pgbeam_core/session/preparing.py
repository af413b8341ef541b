"""What a server has prepared, and will have prepared when a request gets there.

A request is written before the server has seen any of it, so a name that one message makes is there for the next. What
has really been prepared is told by the effects of the steps, when their replies come.
"""

from __future__ import annotations

from pgbeam_core.session import extended, stand_ins, steps
from pgbeam_core.session.binding import Binding
from pgbeam_core.session.client_statements import ClientStatements
from pgbeam_core.session.extended import Plan
from pgbeam_core.session.prepared import Key, Prepared, ServerStatements
from pgbeam_core.session.steps import Owed
from pgbeam_core.wire import frontend
from pgbeam_core.wire.large import HEAD_BYTES, rest_of


class StatementPreparer:
    """Has one server prepare what one request needs there. `out` is what is sent for that, `script` what is owed."""

    def __init__(
        self,
        client_statements: ClientStatements,
        server_statements: ServerStatements,
        *,
        failed: bool,
        prepare_once: bool,
        epoch: int,
        shared: bool,
    ) -> None:
        self._client_statements = client_statements
        self._server_statements = server_statements
        self._failed = failed
        """The server is in a failed transaction, where it would refuse a Parse."""
        self._prepare_once = prepare_once
        """Statements that are parsed again and again stay prepared."""
        self._epoch = epoch
        self._shared = shared
        """Other clients' turns are under way on the server: what is unnamed there is anybody's."""
        self._coming: dict[Key, bytes] = {}
        """What this request has the server prepare, and under which names."""
        self._coming_unnamed: Key | None = None
        self._has_coming_unnamed = False
        self._coming_names: dict[bytes, Key | None] = {}
        """Statements that will stand under their client's own name; None for one that will not."""
        self._all_gone = False
        """The server will have dropped all that have a name before it gets here."""
        self._binding: Binding | None = None
        """The last Bind, for the next: batches bind one statement again and again."""
        self.parses = 0
        """Statements that the server is made to parse, of the part that was written last."""
        self.out: list[bytes] = []
        self.script: list[Owed] = []

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

    def _evict(self, plan: Plan) -> None:
        """Close what the server need not have any more, but nothing that this part of the request is about."""
        there = self._server_statements
        while there.stale:
            self._send(frontend.Close(extended.STATEMENT, there.stale.pop()).to_bytes(), steps.CLOSE_UNSEEN)
        if len(there.names) > there.limit:
            needed = {step.prepared.key for step in plan.steps if step.prepared is not None}
            for name in there.surplus(needed):
                self._send(frontend.Close(extended.STATEMENT, name).to_bytes(), steps.CLOSE_UNSEEN)

    def _parse_under_client_name(self, name: bytes, prepared: Prepared) -> None:
        """SQL that comes next speaks of a statement by its client's name."""
        there, key = self._server_statements, prepared.key
        if self._failed or self._under_client_name(name) == key:
            return
        self._coming_names[name] = key

        def parsed(ok: bool) -> None:
            if ok:
                there.client_names[name] = key

        self._send(frontend.Close(extended.STATEMENT, name).to_bytes(), steps.CLOSE_UNSEEN)
        self._send(prepared.parse_frame(name), Owed(b"1", forward=False, effect=parsed))
        self.out += prepared.rest

    def _under_client_name(self, name: bytes) -> Key | None:
        return (
            self._coming_names[name] if name in self._coming_names else self._server_statements.client_names.get(name)
        )

    def _is_parsed(self, prepared: Prepared) -> bool:
        """Whether the server would parse it to what it has: not in a failed transaction, nor after tables changed."""
        key = prepared.key
        if self._failed or prepared.statement.speaks_of is not None:
            return False
        if key in self._coming:
            return True
        there = self._server_statements
        return not self._all_gone and key in there.names and there.epochs.get(key) == self._epoch

    def _stand_in(self, types: bytes) -> bytes:
        """A name for a statement that a server in a failed transaction takes too, with parameters of these types."""
        name, frame, owed = stand_ins.parse(self._server_statements, types)
        self._send(frame, owed)
        return name

    def _parse_under_name(self, prepared: Prepared | None) -> bytes:
        """Have the server parse a statement under a name, though it has it unnamed."""
        assert prepared is not None
        name = self._server_statements.new_name()
        self._prepare_as(name, prepared, None, forward=False)
        return name

    def _prepare(self, prepared: Prepared, frame: bytes | None, *, forward: bool) -> None:
        """Have the server parse a statement that it lacks, under a name of its own or as the unnamed one."""
        name = self._server_statements.new_name() if self._worth_a_name(prepared) else b""
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
        there, client_statements = self._server_statements, self._client_statements
        remember = client_statements.effect_of_parse(prepared) if forward else None
        epoch, shared = self._epoch, self._shared

        def parsed(ok: bool) -> None:
            if not ok:
                if not name:
                    there.unnamed = None
                if forward and not prepared.name:
                    client_statements.statements.pop(b"", None)
                return
            if name:
                there.add(key, name, epoch)
            else:
                there.unnamed = None if shared else key
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
        return self._prepare_once and prepared.statement._parses > 1

    def _name_of(self, prepared: Prepared) -> bytes | None:
        """The name under which the server has it, or will have it when it gets here.

        What speaks of another statement (EXECUTE x) is what that was when it was parsed: only this request's will do.
        """
        key = prepared.key
        if key in self._coming:
            return self._coming[key]
        if prepared.statement.speaks_of is not None:
            return b"" if self._has_coming_unnamed and self._coming_unnamed == key else None
        name = self._server_statements.names.get(key) if not self._all_gone else None
        if name is not None:
            self._server_statements.names.move_to_end(key)
            return name
        unnamed = self._server_statements.unnamed if not self._shared else None
        if self._has_coming_unnamed:
            unnamed = self._coming_unnamed
        return b"" if unnamed == key else None

    def _deallocate(self, name: bytes | None) -> None:
        """DEALLOCATE of a statement, or of all, goes out: what comes behind it does not find them."""
        if name is not None:
            self._coming_names[name] = None
            return
        self._coming_names.update(dict.fromkeys([*self._coming_names, *self._server_statements.client_names]))
        self._coming.clear()
        self._binding = None
        self._all_gone = True
