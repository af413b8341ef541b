"""How a server logs in: from the startup message to its first ReadyForQuery.

What a server in service does stands in `server`, whose `_login` this is until it has succeeded. Of that it knows
`logged_in`, `login_failed`, and the attributes that a login fills in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.api.pool import Relay
from pgbeam_core.errors import PasswordNeeded, ProtocolViolation, ServerRefused
from pgbeam_core.wire import backend
from pgbeam_core.wire.authentication import auth_code
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.startup import StartupMessage
from pgbeam_core.wire.tags import Auth

if TYPE_CHECKING:
    from pgbeam_core.net.server import ServerProtocol

LOGIN_BYTES = 1 << 20
"""What a server may say until it is ready: some hundred bytes, unless triggers have much to say about logins."""
LOGIN_MESSAGES = 2_000
"""In how many messages: about twenty. They are all read in one go."""
LOGIN_QUESTIONS = 50
"""Authentication requests of one login; SCRAM has three, GSSAPI a few more."""

_AUTHENTICATION, _KEY, _STATUS, _READY, _ERROR, _NOTICE, _NEGOTIATE = b"RKSZENv"


class ServerLogin:
    """One login. relay: who answers what the server asks; None: nobody can."""

    def __init__(self, server: ServerProtocol, relay: Relay | None) -> None:
        self._server = server
        self._relay = relay
        self._cutter = FrameCutter(max_length=1 << 20)
        self._size = self._messages = self._questions = 0
        self.over = False

    def begin(self, application_name: str | None) -> None:
        """Connected: say who we are."""
        server = self._server
        user, database = server.identity.user, server.identity.database
        parameters = {"user": user, **({} if database == user else {"database": database})}
        parameters.update(server.identity.parameters)
        if application_name is not None:
            parameters["application_name"] = application_name
        if self._relay is not None:
            self._relay.attach(server)
        server.transport.write(StartupMessage(3, 0, parameters).to_bytes())

    def received(self, data: bytes) -> None:
        """Take what the server says. Raises ProtocolViolation."""
        self._size += len(data)
        if self._size > LOGIN_BYTES:
            raise ProtocolViolation("it says too much during the login")
        frames = self._cutter.feed(data)
        self._messages += len(frames)
        if self._messages > LOGIN_MESSAGES:
            raise ProtocolViolation("it says too much during the login")
        for place, frame in enumerate(frames):
            if frame[0] == _READY:
                self._ready(frame, b"".join(frames[place + 1 :]) + self._cutter.rest())
                return
            self._take(frame)
            if self.over:
                return

    def end(self) -> None:
        """It has succeeded, failed, or was given up: nothing is asked of the relay any more."""
        self.over = True
        if self._relay is not None:
            self._relay.detach()
            self._relay = None

    def _take(self, frame: bytes) -> None:
        server, tag = self._server, frame[0]
        if tag == _AUTHENTICATION:
            self._authentication(frame)
        elif tag == _STATUS:
            server.asynchronous.parameter_status(frame)
        elif tag == _KEY:
            key = backend.BackendKeyData.from_bytes(frame)
            server.pid, server.secret = key.pid, key.secret
        elif tag == _ERROR:
            fields = backend.error_fields(frame)
            server.login_failed(ServerRefused(fields.get("M", ""), frame, sqlstate=fields.get("C", "XX000")))
        elif tag == _NOTICE:
            server.greeting.append(frame)
        elif tag != _NEGOTIATE:
            raise ProtocolViolation(f"unexpected message {chr(tag)!r} during login")

    def _authentication(self, frame: bytes) -> None:
        server, relay = self._server, self._relay
        if auth_code(frame) is Auth.OK:
            if relay is not None:
                relay.accepted()
                server.reproducible = not self._questions or relay.repeatable
            return
        self._questions += 1
        if self._questions > LOGIN_QUESTIONS:
            raise ProtocolViolation("it asks too much during the login")
        # SASLFinal asks for nothing, but it ends an exchange that perhaps only a client can repeat.
        server.reproducible = relay is not None and relay.repeatable
        if relay is not None:
            relay.challenge(frame)
            return
        message = f'server asks for the password of user "{server.identity.user}", which PgBeam does not have'
        server.login_failed(PasswordNeeded(message, hint="Connect again: a new login opens a new server."))

    def _ready(self, frame: bytes, rest: bytes) -> None:
        if frame != backend.READY_IDLE:
            raise ProtocolViolation("malformed ReadyForQuery during login")
        server = self._server
        if self._relay is None:
            server.greeting.clear()  # nobody's login
        self.end()
        server.logged_in(rest)
