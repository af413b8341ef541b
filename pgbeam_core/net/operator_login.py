"""Whether somebody who comes over HTTP is an operator: by name and password, checked as at the console."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.console import access
from pgbeam_core.console.places import NAME
from pgbeam_core.errors import PgBeamError
from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.net.auth.exchange import LoginExchange
from pgbeam_core.net.channel import Channel
from pgbeam_core.net.console_login import ConsoleLogin, chooser
from pgbeam_core.net.judging import Judging
from pgbeam_core.session.session import Session
from pgbeam_core.wire import backend
from pgbeam_core.wire.secrets import Password

if TYPE_CHECKING:
    from pgbeam_core.api.results import Refusal
    from pgbeam_core.beam import Beam

log = Logger(__name__)

REQUEST = "operator"
"""What the control socket calls it."""
_CREDENTIALS = "28"
"""The class of SQLSTATEs that are about who somebody is."""
NOT_ASKED = "no password is asked of operators here"
"""Whoever they say they are: their login proves nothing."""


class _PasswordInHand:
    """The client's end of a login: answers what it is asked with a password that is there already."""

    def __init__(self, beam: Beam, user: str, password: str, failed: Callable[[Failure], None]) -> None:
        self.asked = False
        self.failed = failed
        """Told when it has no answer to a question."""
        self.exchange = LoginExchange(self._told, lambda: None)
        self._answers = StoredSecret(user, lambda: Password(password.encode()), beam.random)
        self._answers.attach(self)  # type: ignore[arg-type]

    def _told(self, frame: bytes) -> None:
        if frame != backend.AUTHENTICATION_OK:
            self.asked = True
            self._answers.challenge(frame)

    def respond(self, frame: bytes) -> None:
        """As a server would be told: the answer to its question."""
        self.exchange.respond(frame)


class OperatorLogin:
    """One try. The limits of the client's address hold, and plugins are asked, as for a client of the console."""

    def __init__(self, beam: Beam, user: str, password: str, address: str) -> None:
        self._beam = beam
        self._hand = _PasswordInHand(beam, user, password, self._not_proven)
        self._channel = Channel(address, encrypted=True)
        self._outcome: Deferred[str] = Deferred(lambda _: self._give_up())
        self._pending: Deferred[Any] | None = None
        project, parameters = chooser(beam)(self._channel, {"user": user, "database": NAME})
        self._session = Session(project, address, parameters, hostname=None, ask=lambda _name, _value: None)
        self._session.at_console = True
        self._judging = Judging(beam.hooks, self._session, self._judged)

    def begin(self) -> Deferred[str]:
        """Gives `admin` or `stats`. Fails with PgBeamError, within `login_timeout_s`."""
        self._beam.opened(self._session)
        self._judging.begin()
        self._outcome.addTimeout(self._beam.settings.login_timeout_s, self._beam.reactor, onTimeoutCancel=_too_slow)
        return self._outcome.addBoth(self._over)

    def _judged(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self._fail(PgBeamError(refusal.message, sqlstate=refusal.sqlstate, hint=refusal.hint))
            return
        login = ConsoleLogin(self._beam, self._session, self._channel, self._hand.exchange)
        self._pending = login.begin()
        self._pending.addCallbacks(self._proven, self._not_proven)

    def _proven(self, _: Any) -> None:
        self._pending = None
        settings, user = self._beam.settings, self._session.user
        refusal = access.refusal(settings, user, self._channel)
        if not self._hand.asked:
            hint = "Where nobody is asked for a password, dashboard_token lets people in."
            self._fail(PgBeamError(NOT_ASKED, sqlstate="28000", hint=hint))
        elif refusal is not None:
            self._fail(PgBeamError(refusal.message, sqlstate="28000", hint=refusal.hint))
        elif not self._outcome.called:
            self._outcome.callback("admin" if access.is_admin(settings, user, self._channel) else "stats")

    def _not_proven(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, PgBeamError):
            self._fail(error)
        elif not failure.check(CancelledError):
            log.failure("an operator's login failed", failure=failure)
            self._fail(PgBeamError("the password could not be checked", sqlstate="08006"))

    def _fail(self, error: PgBeamError) -> None:
        if error.sqlstate.startswith(_CREDENTIALS):
            self._session.login_error = error.sqlstate
        if not self._outcome.called:
            self._outcome.errback(error)

    def _give_up(self) -> None:
        self._judging.give_up()
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    def _over(self, result: Any) -> Any:
        self._give_up()
        self._beam.closed(self._session, "an operator's password was checked")
        return result


def answer(beam: Beam, request: Mapping[str, Any]) -> Deferred[str]:
    """`admin` or `stats`, for the `user` and `password` of somebody at `address`. Fails with PgBeamError."""
    user, password, address = (str(request.get(name) or "") for name in ("user", "password", "address"))
    if not user or not password or "\0" in user + password:
        return succeed(None).addCallback(_nobody)
    return OperatorLogin(beam, user, password, address).begin()


def _nobody(_: None) -> str:
    raise PgBeamError("a user and a password are needed", sqlstate="28000")


def _too_slow(_result: object, seconds: float) -> Failure:
    return Failure(PgBeamError(f"the password could not be checked within {seconds:g} s", sqlstate="57014"))
