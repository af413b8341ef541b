"""Writes what makes a kept back transaction real, ahead of the request that needs it.

By the extended protocol and without a Sync of its own: should BEGIN fail, the server skips what stands behind it, be it
a Query, so nothing can run outside of the transaction that it was meant for.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgbeam_core.api.query import Query
from pgbeam_core.session.extended import Plan
from pgbeam_core.session.portals import takes_unnamed
from pgbeam_core.session.prepared import NO_TYPES, Key, ServerStatements
from pgbeam_core.session.steps import Owed
from pgbeam_core.session.transaction import Transaction
from pgbeam_core.wire import frontend
from pgbeam_core.wire.frames import frame

AFTER_READS = b"SELECT WHERE false"
"""Stands for the reads that have run as if outside: what must come before any query is refused after it."""
_BIND = ord("B")
_NO_PARAMETERS = bytes(7)
_EXECUTE = frontend.Execute(b"", 0).to_bytes()
_CLOSE_PORTAL = frontend.Close(frontend.PORTAL, b"").to_bytes()
_BOUND, _DONE = Owed(b"2", forward=False), Owed(b"C", forward=False)
_PARSED, _CLOSED = Owed(b"1", forward=False), Owed(b"3", forward=False)


def _bound_and_run(name: bytes) -> bytes:
    """Bind and Execute of a statement without parameters."""
    return frame(_BIND, b"\0" + name + _NO_PARAMETERS) + _EXECUTE


class Beginning:
    """BEGIN as the client sent it, and the savepoints that are left of those it made since.

    queries: what makes it real. plan: of their request; None for a Query. `frames` goes out first, `script` is owed for
    it; the client sees nothing of that but an error.
    """

    __slots__ = ("_server_statements", "frames", "script")

    def __init__(
        self,
        transaction: Transaction,
        server_statements: ServerStatements,
        queries: Sequence[Query],
        plan: Plan | None = None,
    ) -> None:
        assert transaction.begin is not None
        self._server_statements = server_statements
        self.frames: list[bytes] = []
        self.script: list[Owed] = []
        begun = Owed(b"C", forward=False, effect=lambda ok: transaction.made_real() if ok else None)
        self._kept_prepared(transaction.begin.text, begun)
        if transaction.has_read and not (queries and all(query.statement.rows_only for query in queries)):
            self._kept_prepared(AFTER_READS, _DONE)
        for _, text in transaction.savepoints:
            self._once(text)
        if transaction.has_read and (queries or plan is not None) and not takes_unnamed(plan, queries):
            # Else a client that goes on with the portal of a read outside would be told that it has ended.
            self.frames.append(_CLOSE_PORTAL)
            self.script.append(_CLOSED)

    def _kept_prepared(self, text: bytes, done: Owed) -> None:
        """Texts of which there are few: the server parses them once."""
        server_statements, key = self._server_statements, (text, NO_TYPES)
        name = server_statements.names.get(key)
        if name is None:
            name = server_statements.new_name()
            self._parse(name, text, self._remembering(key, name))
        else:
            server_statements.names.move_to_end(key)
        self.frames.append(_bound_and_run(name))
        self.script += [_BOUND, done]

    def _remembering(self, key: Key, name: bytes) -> Owed:
        server_statements = self._server_statements

        def parsed(ok: bool) -> None:
            if ok:
                server_statements.names[key] = name

        return Owed(b"1", forward=False, effect=parsed)

    def _once(self, text: bytes) -> None:
        name = self._server_statements.new_name()
        self._parse(name, text, _PARSED)
        self.frames += [
            _bound_and_run(name),
            frontend.Close(frontend.STATEMENT, name).to_bytes(),
        ]
        self.script += [_BOUND, _DONE, _CLOSED]

    def _parse(self, name: bytes, text: bytes, owed: Owed) -> None:
        self.frames.append(frontend.Parse(name, text).to_bytes())
        self.script.append(owed)
