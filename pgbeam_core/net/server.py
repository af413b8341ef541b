"""A connection to PostgreSQL: logs in, then pays out what it owes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Identity, Lease, Relay
from pgbeam_core.api.query import Target
from pgbeam_core.errors import (
    PasswordNeeded,
    PgBeamError,
    ProtocolViolation,
    ServerProtocolError,
    ServerRefused,
    ServerUnavailable,
)
from pgbeam_core.internal.aside import Aside
from pgbeam_core.net import timeouts
from pgbeam_core.net.cancel import Cancelling
from pgbeam_core.session.prepared import ServerStatements
from pgbeam_core.session.remains import KEPT_BY_DISCARD
from pgbeam_core.session.replies import ReplyQueue
from pgbeam_core.session.settings import HIDDEN
from pgbeam_core.session.steps import FREE, NOTHING
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.authentication import auth_code
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.startup import StartupMessage
from pgbeam_core.wire.tags import Auth

log = Logger(__name__)

_ids = itertools.count(1)
_QUERY = ord("Q")
LOGIN_BYTES = 1 << 20
"""What a server may say until it is ready: some hundred bytes, unless triggers have much to say about logins."""
LOGIN_MESSAGES = 2_000
"""In how many messages: about twenty. They are all read in one go."""
LOGIN_QUESTIONS = 50
"""Authentication requests of one login; SCRAM has three, GSSAPI a few more."""
PARAMETERS = 1_000
PARAMETER_BYTES = 1 << 20
"""Names and values that a server reports: PostgreSQL reports fifteen, short ones but for search_path."""
UNHEARD_BYTES = 1 << 20
"""What it may say in its life while nobody listens, such as parameters that were reloaded."""

_LOGGED = 500
"""Characters of a server's words that are worth a line in the log."""
_AUTHENTICATION, _KEY, _STATUS, _READY, _ERROR, _NOTICE, _NEGOTIATE, _NOTIFICATION = b"RKSZENvA"


class Server:
    """One server: a Twisted protocol and push producer. Its public attributes are those of `api.pool.Server`."""

    def __init__(
        self,
        target: Target,
        identity: Identity,
        application_name: str | None,
        *,
        now: Callable[[], float],
        later: Callable[[Callable[[], None]], Any],
        cancel: Callable[[Server], Deferred[None]],
        prepared_limit: int,
        relay: Relay | None,
    ) -> None:
        self.transport: Any = None
        """A Twisted TCP transport or a `streams.Stream`, once there is a connection."""
        self.target = target
        self.address = target.address
        self.identity = identity
        self.id, self.pid, self.secret = next(_ids), 0, b""
        self.alive = self.in_doubt = self.in_template = self.recovering = False
        self.opened_at = self.used_at = now()
        self.state: set[str] = set()
        self.settings: dict[str, str] = {} if application_name is None else {"application_name": application_name}
        self.roles_at = 0
        self.statements = ServerStatements(prepared_limit)
        self.reproducible = True
        self.lease: Lease | None = None
        self.sharers = 0
        self.paid_at = 0.0
        self.parameters: dict[str, str] = {}
        """ParameterStatus as of now."""
        self.parameters_at_login: dict[str, str] = {}
        self.greeting: list[bytes] = []
        """Notices that came with the login, for the client whose login it was."""
        self.ready: Deferred[Server] = Deferred(lambda _: self.close("login given up"))
        """Fires when logged in; fails with ServerRefused or ServerUnavailable."""
        self.gone: Callable[[Any, bool], None] = lambda _server, _expected: None
        self.left: Callable[[], None] = lambda: None
        """Told when it has gone by itself."""
        self.ended: Callable[[bool], None] = lambda _expected: None
        self._login_size = self._login_messages = self._questions = self._parameter_size = self._unheard = 0
        self._application_name = application_name
        self._now = now
        self._later = later
        self._catching_up: Any = None
        """The call that pays out more of what has come; PostgreSQL is not read meanwhile."""
        self._paused = False
        """The client does not keep up."""
        self._over: tuple[str, bool] | None = None
        """It is gone, and what it had said before has not been paid out."""
        self._relay = relay
        self._cutter: FrameCutter | None = FrameCutter(max_length=1 << 20)
        self._replies = ReplyQueue(self)
        self._turns = self._replies.turns
        self._cancelling = Cancelling(lambda: cancel(self), self._turns)
        self._holder: Any = None
        self._untold: set[str] = set()
        """Parameters that changed in turns of PgBeam's own."""
        self._seen: Turn | None = None
        self._failed = False
        self._reason: str | None = None

    @property
    def status(self) -> bytes:
        """Transaction status of the last ReadyForQuery."""
        return self._replies.status

    @property
    def owed(self) -> int:
        return len(self._turns)

    @property
    def held(self) -> bool:
        """The turn at the head takes too long, or too much, for others to stand behind it."""
        return self._replies.held

    def __repr__(self) -> str:
        return f"<Server {self.pid} {self.identity.user}@{self.identity.database} {self.target.address}>"

    # Logging in.

    def makeConnection(self, transport: Any) -> None:
        """Connected: say who we are, unless nobody wants to know any more."""
        self.transport = transport
        if self._failed:
            # The connection was on its way here when it was given up: whoever gave up had nothing to close yet.
            transport.abortConnection()
            return
        user, database = self.identity.user, self.identity.database
        parameters = {"user": user, **({} if database == user else {"database": database})}
        parameters.update(self.identity.parameters)
        if self._application_name is not None:
            parameters["application_name"] = self._application_name
        if self._relay is not None:
            self._relay.attach(self)
        self.transport.write(StartupMessage(3, 0, parameters).to_bytes())

    def respond(self, frame: bytes) -> None:
        """Pass on an answer to an authentication request."""
        self.transport.write(frame)

    def dataReceived(self, data: bytes) -> None:
        if self._reason is not None and not self.alive:
            return  # TLS may still hand over what came before it was closed
        try:
            cutter = self._cutter
            if cutter is None:
                self._replies.feed(data)
                if self._replies.behind:
                    self._fall_behind()
                if self._cancelling.wanted is not None:
                    self._cancelling.go_on()
            else:
                self._login(cutter, data)
        except ProtocolViolation as error:
            if self.alive:
                self.quarantine(error.message)
            elif self._cutter is not None:
                self._end(ServerProtocolError(f"server broke the protocol: {error.message}"))
            # else it was closed on account of what it said before

    def _fall_behind(self) -> None:
        """So much has come at once that others have their turn before the rest."""
        if self._catching_up is None:
            self._catching_up = self._later(self._catch_up)
            if self._over is None:
                self.transport.pauseProducing()

    def _catch_up(self) -> None:
        self._catching_up = None
        try:
            self._replies.go_on()
        except ProtocolViolation as error:
            self.quarantine(error.message)
            return
        if self._cancelling.wanted is not None:
            self._cancelling.go_on()
        if self._replies.behind:
            self._fall_behind()
        elif self._over is not None:
            self._settle(*self._over)
        elif self.alive and not self._paused:
            self.transport.resumeProducing()

    def _login(self, cutter: FrameCutter, data: bytes) -> None:
        self._login_size += len(data)
        if self._login_size > LOGIN_BYTES:
            raise ProtocolViolation("it says too much during the login")
        frames = cutter.feed(data)
        self._login_messages += len(frames)
        if self._login_messages > LOGIN_MESSAGES:
            raise ProtocolViolation("it says too much during the login")
        for place, frame in enumerate(frames):
            self._login_frame(frame)
            if self.alive:
                rest = b"".join(frames[place + 1 :]) + cutter.rest()
                if rest:
                    self.dataReceived(rest)
                return
            if self._reason is not None:
                return

    def _login_frame(self, frame: bytes) -> None:
        tag = frame[0]
        if tag == _AUTHENTICATION:
            self._authentication(frame)
        elif tag == _STATUS:
            self.parameter_status(frame)
        elif tag == _KEY:
            key = backend.BackendKeyData.from_bytes(frame)
            self.pid, self.secret = key.pid, key.secret
        elif tag == _READY:
            if frame != backend.READY_IDLE:
                raise ProtocolViolation("malformed ReadyForQuery during login")
            self._logged_in()
        elif tag == _ERROR:
            fields = backend.error_fields(frame)
            self._end(ServerRefused(fields.get("M", ""), frame, sqlstate=fields.get("C", "XX000")))
        elif tag == _NOTICE:
            self.greeting.append(frame)
        elif tag != _NEGOTIATE:
            raise ProtocolViolation(f"unexpected message {chr(tag)!r} during login")

    def _authentication(self, frame: bytes) -> None:
        code = auth_code(frame)
        if code is Auth.OK:
            if self._relay is not None:
                self._relay.accepted()
                self.reproducible = not self._questions or self._relay.repeatable
            return
        self._questions += 1
        if self._questions > LOGIN_QUESTIONS:
            raise ProtocolViolation("it asks too much during the login")
        # SASLFinal asks for nothing, but it ends an exchange that perhaps only a client can repeat.
        self.reproducible = self._relay is not None and self._relay.repeatable
        if self._relay is not None:
            self._relay.challenge(frame)
            return
        message = f'server asks for the password of user "{self.identity.user}", which PgBeam does not have'
        self._end(PasswordNeeded(message, hint="Connect again: a new login opens a new server."))

    def _logged_in(self) -> None:
        self._cutter = None
        self.alive = True
        self.parameters_at_login = dict(self.parameters)
        if self._relay is not None:
            self._relay.detach()
            self._relay = None
        else:
            self.greeting.clear()  # nobody's login
        self.transport.registerProducer(self, True)
        self.ready.callback(self)

    # Turns.

    def send(self, turn: Turn, data: bytes) -> None:
        """Owe a turn, and send its request."""
        turn.sent_at = self.used_at = self._now()
        self._replies.expect(turn)
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send more of a request that is under way."""
        self.transport.write(data)

    def settle(self, turn: Turn) -> None:
        """Let the turn say at once what is PgBeam's to say, if it is the one at the head."""
        if not turn.shared and self._replies.turns and self._replies.turns[0] is turn:
            turn.settle()

    def aside(self, request: bytes, otherwise: str | None) -> Deferred[None]:
        """Send a request of PgBeam's own whose result nobody wants; if it fails, close with `otherwise`.

        None: it may fail.
        """
        owner = Aside(self, otherwise)
        self.statements.unnamed = None
        turn = Turn(owner, simple=True)
        turn.at = NOTHING if request[0] == _QUERY else FREE
        self.send(turn, request)
        return owner.done

    def lift_timeouts(self) -> None:
        """Ahead of something of PgBeam's own: what clients have set may be too short for it."""
        self._lift(timeouts.short_ones(self.settings, dict(self.identity.parameters)))

    def _lift(self, names: tuple[str, ...]) -> None:
        if not names:
            return
        request = frontend.Query(timeouts.lifting(names)).to_bytes()
        for _ in range(timeouts.TRIES - 1):
            self.aside(request, None)
        self.aside(request, "its timeouts could not be lifted")
        self.settings = {**self.settings, **dict.fromkeys(names, "0")}

    def reset(self) -> Deferred[None]:
        """Run DISCARD ALL and forget what clients left; closed if that is not enough."""
        if self.in_doubt or not self.state.isdisjoint(KEPT_BY_DISCARD):
            self.close("a client has left on it what DISCARD ALL does not take away")
            return succeed(None)
        if HIDDEN in self.settings:
            self._lift(timeouts.NAMES)  # what they are set to is forgotten below
        else:
            self._lift(timeouts.all_set(self.settings, dict(self.identity.parameters)))
        done = self.aside(frontend.Query(b"DISCARD ALL").to_bytes(), "DISCARD ALL failed")
        self.statements.clear()
        self.settings = {}
        if self._application_name is not None:
            self.settings["application_name"] = self._application_name
        self.state.clear()
        return done

    def is_at_head(self, turn: Turn) -> bool:
        """Whether that is the turn that it is paying out."""
        return bool(self._replies.turns) and self._replies.turns[0] is turn

    @property
    def midway(self) -> bool:
        """Whether a part of a message has been passed on, and not the rest."""
        return self._replies.midway

    def watch(self) -> None:
        """See whether the turn at the head is still the one that was there at the last look."""
        turns = self._replies.turns
        head = turns[0] if turns else None
        if head is not None and head is self._seen and not self._replies.held:
            self._replies.move_on()
        self._seen = head

    def attach(self, holder: Any) -> None:
        """This conversation holds the exclusive lease: what comes unasked is for it."""
        self._holder = holder

    def detach(self, holder: Any) -> None:
        """It does not any more."""
        if self._holder is holder:
            self._holder = None

    # What nobody asked for.

    def parameter_status(self, frame: bytes) -> bytes | None:
        """A parameter changed; only the conversation that holds the server may hear of it, in its own turn."""
        message = backend.ParameterStatus.from_bytes(frame)
        self._remember(message.name, message.value)
        turns = self._replies.turns
        if self._holder is None:
            return None
        if turns and turns[0].owner is not self._holder:
            self._untold.add(message.name)
            return None
        told: bytes | None = self._holder.parameter_status(message)
        return told

    def notified(self, frame: bytes) -> bool:
        """Who listens hears of it also while the server does something of PgBeam's own for its sake."""
        holder = self._holder
        if holder is None or self._turns[0].owner is holder:
            return False
        holder.unasked(frame)
        return True

    def told_later(self) -> None:
        """What a request of PgBeam's own came to, not what it went through on the way."""
        if not self._untold:
            return
        names, self._untold = self._untold, set()
        for name in sorted(names):
            frame = None
            if self._holder is not None:
                frame = self._holder.parameter_status(backend.ParameterStatus(name, self.parameters[name]))
            if frame is not None:
                self._holder.unasked(frame)

    def _remember(self, name: str, value: str) -> None:
        before = self.parameters.get(name)
        self._parameter_size += len(value) - len(before) if before is not None else len(name) + len(value)
        self.parameters[name] = value
        if self._parameter_size > PARAMETER_BYTES or len(self.parameters) > PARAMETERS:
            raise ProtocolViolation("it reports too many parameters")

    def unasked(self, tag: int, frame: bytes) -> None:
        """A frame outside any turn."""
        if self._holder is None:
            self._unheard += len(frame)
            if self._unheard > UNHEARD_BYTES:
                raise ProtocolViolation("it says too much that nobody has asked for")
        if tag == _ERROR:
            fields = backend.error_fields(frame)
            self._reason = self._reason or f"{fields.get('C', '')} {fields.get('M', '')[:_LOGGED]}"
        if self._holder is not None:
            self._holder.unasked(frame)
        elif tag == _NOTICE or tag == _ERROR:
            said = backend.error_fields(frame).get("M", "")[:_LOGGED]
            log.info("server {server!r} says {fields}", server=self, fields=said)

    # Cancelling.

    def cancel(self, turn: Turn) -> Deferred[None]:
        """Ask PostgreSQL to cancel that turn, once it is at the head. Fires when no cancel request is under way."""
        return self._cancelling.cancel(turn)

    def settled(self) -> Deferred[None] | None:
        """None, or a Deferred for when no cancel request can hit it any more."""
        return self._cancelling.settled()

    # Backpressure.

    def pause(self) -> None:
        """Do not read from PostgreSQL: the client does not keep up."""
        if self.alive:
            self._paused = True
            self.transport.pauseProducing()

    def resume(self) -> None:
        if self.alive:
            self._paused = False
            if self._catching_up is None:
                self.transport.resumeProducing()

    def pauseProducing(self) -> None:
        """PostgreSQL does not read as fast as it is written to."""
        if self._holder is not None:
            self._holder.server_full()

    def resumeProducing(self) -> None:
        if self._holder is not None:
            self._holder.server_drained()

    def stopProducing(self) -> None:
        """The transport is closing."""

    # The end.

    def quarantine(self, reason: str) -> None:
        """Nobody may get another byte of this server: its stream is in doubt."""
        log.error("server {server!r} quarantined: {reason}", server=self, reason=reason)
        self._reason = reason
        self._replies.drop()
        self.transport.abortConnection()
        self._lost(reason)

    def close(self, reason: str) -> None:
        """Say Terminate and hang up."""
        if self._reason is None or self.alive:
            self._reason = reason
            self._replies.drop()
            if self.transport is not None:
                self.transport.write(frontend.TERMINATE)
                self.transport.loseConnection()
            self._lost(reason, expected=True)

    def abandon(self, reason: str) -> None:
        """Hang up at once: what has not left this machine is not to reach it any more."""
        if self.alive:
            self.transport.abortConnection()
            self.close(reason)

    def failed(self, failure: Failure) -> None:
        """It could not be connected, or took too long."""
        if self._cutter is not None:
            error = failure.value
            self._end(error if isinstance(error, PgBeamError) else ServerUnavailable(str(error)))

    def _end(self, error: PgBeamError) -> None:
        self._reason = error.message
        if self.transport is not None:
            self.transport.loseConnection()
        self._fail(error)

    def _fail(self, error: PgBeamError) -> None:
        if self._relay is not None:
            self._relay.detach()
            self._relay = None
        if not self._failed:
            self._failed = True
            self.ready.errback(Failure(error))

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        """The socket is closed, by whichever side."""
        self._lost(self._reason or "server closed the connection unexpectedly")

    def _lost(self, reason: str, *, expected: bool = False) -> None:
        if self._cutter is not None:
            self._fail(ServerUnavailable(reason))
            return
        if self._over is not None:
            if not self._replies.behind:  # it was waited for, and is in doubt now
                self._settle(reason, expected)
            return
        if not self.alive:
            return
        self.alive = False
        if self._replies.behind:  # what came before the end is paid out before it
            self._over = reason, expected
        else:
            self._settle(reason, expected)

    def _settle(self, reason: str, expected: bool) -> None:
        self._over = None
        if self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None
        holder, self._holder = self._holder, None
        self._replies.lost(reason)
        if not expected:
            self.left()
        self.gone(self, expected)
        self.ended(expected)
        if holder is not None:
            holder.server_gone(self, reason)
        self._cancelling.lost()
