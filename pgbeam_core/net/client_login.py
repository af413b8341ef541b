"""How a client logs in: from its startup packet to the moment when it may say something else.

What comes before that packet stands in `negotiation`; who it is and what it is given is found out in `auth.login`. What
a client in service does stands in `client`, whose `login` this is until then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.results import Refusal
from pgbeam_core.console.access import is_console
from pgbeam_core.errors import PgBeamError, ProtocolViolation, ServerRefused
from pgbeam_core.net import console_login
from pgbeam_core.net.asking import Asking
from pgbeam_core.net.auth.admission import Admitted
from pgbeam_core.net.auth.exchange import LoginExchange
from pgbeam_core.net.auth.login import Login
from pgbeam_core.net.failed_logins import LEFT, TIMEOUT, reason_of
from pgbeam_core.net.judging import Judging, turned_away
from pgbeam_core.session.conversation import Conversation
from pgbeam_core.session.outcome import refusal_frame
from pgbeam_core.session.session import Session
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import MAX_AUTH_LENGTH, FrameCutter
from pgbeam_core.wire.startup import StartupMessage, negotiate

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.net.client import ClientProtocol

log = Logger(__name__)

_CREDENTIALS = "28"
"""Class of the SQLSTATEs that are about who may log in."""
_PASSWORD = ord("p")
_TERMINATE = ord("X")
_TIMED_OUT = backend.error_response("FATAL", "57014", "canceling authentication due to timeout")


class ClientLogin:
    """One client's. It ends with `client.serve` or `client.enter_console`, or the client is hung up on."""

    def __init__(self, client: ClientProtocol, beam: Beam) -> None:
        self.pending: Deferred[Any] | None = None
        """What has to happen before it goes on."""
        self._client = client
        self._beam = beam
        self._exchange: LoginExchange | None = None
        self._answers = FrameCutter(max_length=MAX_AUTH_LENGTH)
        self._ahead: list[bytes] = []
        """Messages that have come with an answer, and behind it."""
        self._early: list[bytes] = []
        self._judging: Judging | None = None
        self._long_key = False

    def begin(self) -> None:
        """It is connected: its time runs."""
        self._beam.logins.begin(self._too_slow)
        self._beam.answers.begin(self._no_answer)

    def started(self, packet: StartupMessage, rest: bytes) -> None:
        """Its startup packet is there, and `rest` behind it."""
        beam, client = self._beam, self._client
        beam.answers.met(self._no_answer)
        offer = negotiate(packet)
        if offer is not None:
            client.write(offer)
        self._long_key = packet.minor >= 2
        client.take = self._keep_for_later
        if rest:
            self._early.append(rest)
        at_console = is_console(packet.parameters)
        channel = client.channel
        try:
            choose = console_login.chooser(beam) if at_console else beam.entrance.choose_project
            project, parameters = choose(channel, packet.parameters)
            asking = Asking(beam.hooks)
            session = Session(project, channel.address, parameters, hostname=channel.hostname, ask=asking.ask)
            client.session = asking.session = session
            session.at_console = at_console
        except PgBeamError as error:
            self._refuse(Refusal(error.sqlstate, error.message, hint=error.hint))
            return
        beam.opened(session)
        self._judging = Judging(beam.hooks, session, self._let_in)
        self._judging.begin()

    def failed(self, reason: str) -> None:
        """It comes to nothing, unless it has already."""
        client, beam = self._client, self._beam
        if not client.over:
            session = client.session
            counts = beam.entrance.failed_logins if session is None else beam.counted.for_client(session).logins_failed
            counts[reason] += 1

    def give_up(self) -> None:
        """The client has left, or was sent away. Nothing it has said is of use any more."""
        self._stop_timing()
        if self._judging is not None:
            self._judging.give_up()
        if self.pending is not None:
            self.pending.addErrback(lambda _: None)
            self.pending.cancel()
        self._answers = FrameCutter(max_length=MAX_AUTH_LENGTH)
        self._ahead.clear()
        self._early.clear()
        self._exchange = self._judging = self.pending = None

    # Time.

    def _too_slow(self) -> None:
        """The login as a whole takes too long, unless it is an operator who keeps it waiting."""
        session = self._client.session
        if session is not None and self._beam.console.steering.keeps(session):
            self._beam.logins.begin(self._too_slow)
            return
        self._timed_out("login timed out")

    def _no_answer(self) -> None:
        """The client does not say what it is asked for: its startup packet, or a password."""
        self._timed_out("client did not answer within login_timeout_s")

    def _timed_out(self, reason: str) -> None:
        self.failed(TIMEOUT)
        self._client.hang_up(reason, b"" if self._client.session is None else _TIMED_OUT)

    def _stop_timing(self) -> None:
        self._beam.logins.met(self._too_slow)
        self._beam.answers.met(self._no_answer)

    # Who it is.

    def _let_in(self, refusal: Refusal | None) -> None:
        session, client = self._client.session, self._client
        assert session is not None
        if refusal is not None:
            self._refuse(refusal)
            return
        self._exchange = LoginExchange(client.write, partial(self._beam.answers.begin, self._no_answer))
        client.take = self._authenticating
        early, self._early = self._early, []
        if session.at_console:
            self.pending = console_login.ConsoleLogin(self._beam, session, client.channel, self._exchange).begin()
            self.pending.addCallbacks(self._at_console, self._not_logged_in)
        elif (refusal := self._beam.console.steering.refusal(session)) is not None:
            self._refuse(refusal)
            return
        else:
            self.pending = Login(self._beam, session, client.channel, self._exchange).begin()
            self.pending.addCallbacks(self._logged_in, self._not_logged_in)
        if early:
            client.dataReceived(b"".join(early))

    def _authenticating(self, data: bytes) -> None:
        exchange = self._exchange
        assert exchange is not None
        if exchange.over or not exchange.asked:
            self._keep_for_later(data)
            return
        self._ahead += self._answers.feed(data)
        while self._ahead and not exchange.over and not self._client.over:
            frame = self._ahead.pop(0)
            if frame[0] == _TERMINATE:
                self.failed(LEFT)
                self._client.hang_up("client left during login")
                return
            self._beam.answers.met(self._no_answer)
            if frame[0] != _PASSWORD or not exchange.respond(frame):
                raise ProtocolViolation(f"expected password response, got message type {frame[0]}")

    def _keep_for_later(self, data: bytes) -> None:
        """What a client sends that does not wait to be let in: its first queries, or its password."""
        self._early.append(data)
        if sum(map(len, self._early)) > MAX_AUTH_LENGTH:
            raise ProtocolViolation("too much data before authentication is complete")

    def _not_logged_in(self, failure: Failure) -> None:
        self.pending = None
        client = self._client
        if client.over:
            return
        error, session = failure.value, client.session
        if isinstance(error, ServerRefused):
            if session is not None:
                session.login_error = error.sqlstate
            self.failed(reason_of(error.sqlstate))
            client.hang_up(f"login refused: {error.message}", error.frame)
        elif isinstance(error, PgBeamError):
            if session is not None and error.sqlstate.startswith(_CREDENTIALS):
                session.login_error = error.sqlstate
            self._refuse(Refusal(error.sqlstate, error.message, hint=error.hint))
        else:
            log.failure("login failed", failure)
            self._refuse(Refusal("08006", "could not get a server connection"))

    def _refuse(self, refusal: Refusal) -> None:
        self.failed(reason_of(refusal.sqlstate))
        self._client.hang_up(refusal.message, refusal_frame(refusal, "FATAL"))

    # It is in.

    def _logged_in(self, admission: Admitted) -> None:
        self.pending = None
        lease, client = admission.lease, self._client
        if client.over:
            if lease is not None:
                lease.release()
            return
        session = client.session
        assert session is not None
        self._is_in()
        client.conversation = conversation = Conversation(session, client, self._beam.runtime)
        session.identity = admission.identity
        pid: int | None = None
        if lease is not None:
            conversation.accept_lease(lease)
            if session.project.pool_mode == "session" or session.replication:
                pid = lease.server.pid
        client.key = self._beam.cancel_keys.issue(conversation, pid=pid, long=self._long_key)
        session.pid = client.key[0]
        refusal = turned_away(self._beam.hooks, session)
        if refusal is not None:
            self._refuse(refusal)
            return
        client.write(_greeting(session, admission, client.key))
        client.serve(conversation)
        self._go_on(conversation.input.received)

    def _at_console(self, _proven: object) -> None:
        self.pending, client = None, self._client
        session = client.session
        if session is None:
            return
        entered = console_login.enter(client, self._beam, session, long=self._long_key)
        if isinstance(entered, Refusal):
            self._refuse(entered)
            return
        self._is_in()
        console, client.key = entered
        client.enter_console(console)
        self._go_on(console.received)

    def _is_in(self) -> None:
        self._stop_timing()
        self._client.authenticated()
        self._exchange = self._judging = None

    def _go_on(self, take: Callable[[bytes], None]) -> None:
        """What has come behind the login, and all that is to come, goes there."""
        client = self._client
        client.take = take
        rest = b"".join([*self._ahead, self._answers.rest(), *self._early])
        self._ahead.clear()
        self._early.clear()
        if rest:
            client.dataReceived(rest)


def _greeting(session: Session, admission: Admitted, key: tuple[int, bytes]) -> bytes:
    """What a client is told when it is in, up to its first ReadyForQuery."""
    told = dict(admission.greeting.parameters)
    if "application_name" in told:
        told["application_name"] = session.application_name or ""
    session.parameter_status = told
    session._parameters_told()
    key_data = backend.BackendKeyData(*key).to_bytes()
    return b"".join([*admission.notices, admission.greeting.statuses(told), key_data, backend.READY_IDLE])
