"""The explicit transaction of one client: kept back, real on a server, or over.

BEGIN is answered by PgBeam and kept back until a statement needs it. Until then nothing has happened that a server
would have to know: plain reads at READ COMMITTED see the last commit each, inside a transaction as outside of it.

status (client)  server_status
I                I              no transaction
T                I              kept back
E                I              kept back, and a read of it has failed in a way that could not be repeated
T or E           the same       real: from here on all is as the client sent it
"""

from __future__ import annotations

from pgbeam_core.api.query import Query
from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.session.session import Session

_EACH_STATEMENT_ANEW = frozenset({"read committed", "read uncommitted"})
"""Isolation levels at which each statement takes a snapshot of its own; PostgreSQL treats the two alike."""
_MAY_END_ASIDE = _EACH_STATEMENT_ANEW | {"repeatable read"}
"""At these the end of a transaction that only read cannot fail."""
_LONGEST_NAME = 62
"""Bytes of a savepoint's name. Longer ones PostgreSQL has cut, with a notice, or may have."""

_REASONS = {
    **dict.fromkeys((Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.MERGE, Kind.COPY), "write"),
    **dict.fromkeys((Kind.SET, Kind.SHOW, Kind.RESET), "setting"),
    **dict.fromkeys((Kind.DECLARE, Kind.FETCH, Kind.CLOSE), "cursor"),
}

DEFAULT_ISOLATION = "default_transaction_isolation"


class Transaction:
    """What is known of it. `made_real` and `end_without_server` are told, everything else is asked."""

    __slots__ = (
        *(
            "_session",
            "begin",
            "failed_outside",
            "has_read",
            "isolation",
            "only_read",
            "reads",
            "savepoints",
            "since",
            "why",
            "began_at",
        ),
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self.begin: Statement | None = None
        """What the client sent as BEGIN, while no server has got it."""
        self.savepoints: list[tuple[str, bytes]] = []
        """Name and text of those that are kept back, oldest first."""
        self.reads = False
        """Plain reads may run as if outside: it is kept back, and at READ COMMITTED."""
        self.has_read = False
        """A plain read has run as if outside."""
        self.only_read = False
        """Nothing but plain reads has run in it, and PgBeam knows all of it."""
        self.failed_outside = False
        """A plain read has failed outside, and is being had inside."""
        self.isolation: str | None = None
        """None if it is not known."""
        self.since = 0.0
        """When a server was first in it."""
        self.began_at = 0.0
        """When its BEGIN came, kept back or not."""
        self.why = ""
        """What made it real, in a word; empty if it was never kept back."""

    @property
    def kept_back(self) -> bool:
        """Whether there is one that no server knows of."""
        return self.begin is not None

    def keep_back(self, statement: Statement, isolation: str | None, *, reads: bool) -> None:
        """The client has begun, at that isolation level; None if it is not known."""
        self.begin, self.isolation = statement, isolation
        self.reads = reads and self.isolation in _EACH_STATEMENT_ANEW
        self.has_read = self.failed_outside = False
        self.only_read, self.why = True, ""
        self._session.status = b"T"

    def may_read(self, statement: Statement) -> bool:
        """Whether a statement may run as if outside."""
        return self.reads and statement.shareable and self._session.status == b"T"

    def knows(self, statement: Statement) -> bool:
        """Whether it is plain what a SAVEPOINT, RELEASE or ROLLBACK TO does, as long as all is kept back."""
        name, failed = statement.subject or "", self._session.status == b"E"
        if statement.kind is Kind.SAVEPOINT:
            return not failed and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME
        if statement.kind is Kind.RELEASE and failed:
            return False
        return any(known == name for known, _ in self.savepoints)

    def mark(self, statement: Statement) -> None:
        """SAVEPOINT, RELEASE or ROLLBACK TO: with settings as with the transaction itself."""
        session, name = self._session, statement.subject or ""
        if statement.kind is Kind.SAVEPOINT:
            self.savepoints.append((name, statement.text))
            session.settings.savepoint(name)
            return
        place = max(at for at, (known, _) in enumerate(self.savepoints) if known == name)
        if statement.kind is Kind.RELEASE:
            del self.savepoints[place:]
            session.settings.release_savepoint(name)
        else:
            del self.savepoints[place + 1 :]
            session.settings.rollback_to(name)
            session.status = b"T"

    def fail(self) -> None:
        """Something went wrong in it while it is kept back: only its end, or a savepoint, leads on."""
        self._session.status = b"E"

    def reason(self, queries: list[Query]) -> str:
        """Why it becomes real with these, in a word."""
        if self.failed_outside:
            return "error"
        if len(queries) != 1:
            return "pipeline"
        statement = queries[0].statement
        if statement.shareable:
            return "portal" if self.reads else "isolation"
        if statement.kind is Kind.SELECT:
            return "volatile" if statement.reads else "lock"
        return _REASONS.get(statement.kind, statement.kind.value)

    def made_real(self) -> None:
        """A server is in it now."""
        self._forget()
        self._session.status = self._session.server_status = b"T"

    def queries_sent(self, queries: list[Query]) -> None:
        """These go to a server, be the transaction kept back or not."""
        if self.only_read:
            self.only_read = all(query.statement.only_reads for query in queries)

    def server_ready(self, status: bytes) -> None:
        """The server says where it is, at the end of a reply."""
        session = self._session
        session.server_status = status
        if self.begin is not None:
            return
        session.status = status
        if status == b"I":
            self.only_read = False

    def may_end_unattended(self) -> bool:
        """Whether its end is certain before the server has heard of it."""
        return self.only_read and self._session.status == b"T" and self.isolation in _MAY_END_ASIDE

    def end_without_server(self, *, committed: bool) -> None:
        """It has ended, and no server need be asked how."""
        session = self._session
        self._forget()
        self.only_read = False
        session.status = session.server_status = b"I"
        session.settings.end_transaction(committed=committed)
        session.variables.end_transaction(committed=committed)

    def _forget(self) -> None:
        self.begin = None
        self.reads = False
        self.savepoints.clear()
