"""Asks a database for users' secrets, on a connection of its own. Answers hold for seconds, those of nobody too."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity, Relay, Server
from pgbeam_core.errors import PasswordNeeded, PgBeamError, PoolExhausted, ServerUnavailable
from pgbeam_core.internal.owner import RowCollector
from pgbeam_core.session import steps
from pgbeam_core.session.outcome import error_of
from pgbeam_core.session.steps import Owed
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import frontend
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.secrets import Secret, kind_of, parse_secret

if TYPE_CHECKING:
    from pgbeam_core.settings import Project

log = Logger(__name__)

PATIENCE_S = 10.0
"""For an answer, connecting included."""
IDLE_S = 60.0
"""A connection that nobody has needed for so long is closed."""
OUTAGE_S = 60.0
"""What was known holds so long while the server cannot be asked."""
MOST_KNOWN = 10_000
"""Users whose secrets, or absence, are remembered; the one that was asked for longest ago is forgotten."""
MOST_ASKED = 1_000
"""Questions under way at a time."""
_MOST_BYTES = 64 * 1024
_NAME = "pgbeam auth_query"
_DATABASE = "postgres"


class _Asked:
    """A user who is asked about, for all who wait for that."""

    __slots__ = ("timeout", "waiting")

    def __init__(self, timeout: Any) -> None:
        self.timeout = timeout
        self.waiting: list[Deferred[Secret | None]] = []


class AuthQuery:
    """Of one project. `relay` makes what logs in as auth_user."""

    def __init__(self, project: Project, opener: Callable[[], Opener], relay: Callable[[], Relay], clock: Any) -> None:
        self._project = project
        self._opener = opener
        self._relay = relay
        self._clock = clock
        self._known: OrderedDict[str, tuple[Secret | None, float]] = OrderedDict()
        self._asking: dict[str, _Asked] = {}
        self._server: Server | None = None
        self._opening: Deferred[Any] | None = None
        self._to_ask: deque[str] = deque()
        self._idle: Any = None
        self.kinds: frozenset[str] = frozenset()
        """Of secrets, that it has given."""

    def lookup(self, user: str) -> Deferred[Secret | None] | Secret | None:
        """The secret; None if there is no such user. Fails with PgBeamError if that cannot be told."""
        known = self._known.get(user)
        if known is not None and self._clock.seconds() - known[1] <= self._project.logins.auth_cache_s:
            return known[0]
        answer: Deferred[Secret | None] = Deferred(lambda answer: self._left(user, answer))
        asked = self._asking.get(user)
        if asked is not None:
            asked.waiting.append(answer)
        elif len(self._asking) >= MOST_ASKED:
            answer.errback(PoolExhausted("too many logins wait for auth_query"))
        else:
            self._asking[user] = asked = _Asked(self._clock.callLater(PATIENCE_S, self._too_long, user))
            asked.waiting.append(answer)
            self._to_ask.append(user)
            self._go_on()
        return answer

    def remembered(self, user: str) -> Secret | None:
        """What the last answer about that user was, however long ago: a server will say whether it holds."""
        known = self._known.get(user)
        return None if known is None else known[0]

    def _left(self, user: str, answer: Deferred[Secret | None]) -> None:
        """Its client has left; others may wait for the same, and the next one is glad of the answer."""
        asked = self._asking.get(user)
        if asked is not None and answer in asked.waiting:
            asked.waiting.remove(answer)

    def _over(self, user: str) -> list[Deferred[Secret | None]]:
        """Who has waited for that user's secret."""
        asked = self._asking.pop(user, None)
        if asked is None:
            return []
        if asked.timeout.active():
            asked.timeout.cancel()
        return asked.waiting

    def _too_long(self, user: str) -> None:
        """Who has not answered this will not answer the next one."""
        self._failed(user, ServerUnavailable("auth_query takes too long"))
        if self._opening is not None:
            self._opening.cancel()
        elif self._server is not None:
            self._server.close("auth_query takes too long")

    # The connection.

    def _go_on(self) -> None:
        if self._server is not None and self._server.alive:
            while self._to_ask:
                self._ask(self._server, self._to_ask.popleft())
        elif self._opening is None:
            self._open()

    def _open(self) -> None:
        logins, primary = self._project.logins, self._project.primary
        user = logins.auth_user or ""
        identity = Identity(user, logins.auth_database or primary.database or _DATABASE, (("client_encoding", "UTF8"),))
        self._opening = opening = self._opener()(identity, _NAME, self._relay())
        opening.addCallbacks(self._opened, self._not_opened)

    def _opened(self, server: Server) -> None:
        self._opening = None
        self._server = server
        server.gone = self._gone
        self._look_after()
        self._go_on()

    def _not_opened(self, failure: Failure) -> None:
        self._opening = None
        users = [*self._to_ask]
        self._to_ask.clear()
        error = failure.value
        if users and isinstance(error, PgBeamError):
            log.error("auth_query of {project} cannot be asked: {why}", project=self._project.name, why=error.message)
        elif users:
            log.failure("auth_query of {project} cannot be asked", failure, project=self._project.name)
        if not isinstance(error, ServerUnavailable) or isinstance(error, PasswordNeeded):
            error = PgBeamError("auth_query cannot be asked", hint="See PgBeam's log.", sqlstate="08006")
        for user in users:
            self._failed(user, error)

    def _gone(self, _server: Server, _expected: bool) -> None:
        self._server = None
        if self._to_ask:
            self._go_on()

    def _look_after(self) -> None:
        self._idle = self._clock.callLater(IDLE_S, self._rest)

    def _rest(self) -> None:
        self._idle = None
        server = self._server
        if server is None:
            return
        if self._clock.seconds() - server.used_at >= IDLE_S and not server.owed:
            server.close("nobody has logged in for a while")
        else:
            self._look_after()

    def close(self) -> None:
        """The project is gone, or another one now."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._opening is not None:
            self._opening.cancel()
        if self._server is not None:
            self._server.close("auth_query is not needed any more")
        for user in list(self._asking):
            self._failed(user, ServerUnavailable("the project is not in the settings any more"))

    # One query.

    def _ask(self, server: Server, user: str) -> None:
        if user not in self._asking:
            return
        script = deque([Owed(b"1"), steps.BIND, steps.EXECUTE])
        server.statements.unnamed = None
        request = [
            frontend.Parse(b"", raw(self._project.logins.auth_query)).to_bytes(),
            frontend.Bind(b"", b"", values=(raw(user),)).to_bytes(),
            frontend.Execute(b"", 0).to_bytes(),
            frontend.SYNC,
        ]
        turn = Turn(_Lookup(lambda rows: self._answered(user, rows), lambda e: self._failed(user, e)), simple=False)
        turn.script = script
        server.send(turn, b"".join(request))

    def _answered(self, user: str, rows: list[tuple[str | None, ...]]) -> None:
        try:
            secret = _read(rows)
        except ValueError as error:
            log.error("auth_query of {project}: {why}", project=self._project.name, why=str(error))
            self._failed(user, PgBeamError("auth_query has given an answer that is none", hint="See PgBeam's log."))
            return
        if secret is not None:
            self.kinds |= {kind_of(secret)}
        self._known[user] = secret, self._clock.seconds()
        self._known.move_to_end(user)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        for answer in self._over(user):
            answer.callback(secret)

    def _failed(self, user: str, error: PgBeamError) -> None:
        known = self._known.get(user)
        out = isinstance(error, ServerUnavailable)
        for answer in self._over(user):
            if out and known is not None and self._clock.seconds() - known[1] <= OUTAGE_S:
                answer.callback(known[0])
            else:
                answer.errback(Failure(error))


class _Lookup(RowCollector):
    """Owns the turn of one query for a password."""

    def __init__(
        self, answered: Callable[[list[tuple[str | None, ...]]], None], failed: Callable[[PgBeamError], None]
    ) -> None:
        super().__init__(_MOST_BYTES)
        self._answered = answered
        self._failed = failed

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        if turn.error is not None:
            sqlstate, message = error_of(turn.error)[:2]
            log.error("auth_query failed: {sqlstate} {message}", sqlstate=sqlstate, message=message)
            self._failed(PgBeamError("auth_query failed", hint="See PgBeam's log."))
        elif self.is_too_large:
            self._failed(PgBeamError(f"auth_query has given more than {_MOST_BYTES} bytes"))
        else:
            self._answered(self.rows("surrogateescape"))

    def turn_lost(self, turn: Turn, reason: str) -> None:
        self._failed(ServerUnavailable(f"the connection of auth_query was lost: {reason}"))


def _read(rows: list[tuple[str | None, ...]]) -> Secret | None:
    """ValueError says what is wrong with the answer, without the answer."""
    if not rows:
        return None
    if len(rows) > 1:
        raise ValueError(f"it gives {len(rows)} rows for one user")
    if len(rows[0]) < 2:
        raise ValueError("it gives one column, and not name and secret")
    secret = rows[0][1]
    return parse_secret(secret) if secret else None
