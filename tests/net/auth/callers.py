"""Clients by hand that know how to prove who they are."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pgbeam_core.net.client import ClientProtocol
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.testing import Rehearsal, startup
from pgbeam_core.testing.chunks import Chunks, in_one_piece
from pgbeam_core.wire import backend
from pgbeam_core.wire.authentication import (
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    auth_code,
)
from pgbeam_core.wire.frontend import PasswordMessage, SASLInitialResponse, SASLResponse
from pgbeam_core.wire.scram import ScramClient, md5_password
from pgbeam_core.wire.tags import Auth
from tests.session.stage import messages

__all__ = ["Caller"]


class Caller:
    """One client. `said` is all that PgBeam has said to it, `methods` how it was asked who it is."""

    def __init__(self, rehearsal: Rehearsal, *, chunks: Chunks = in_one_piece, **channel: Any) -> None:
        self._rehearsal = rehearsal
        self._chunks = chunks
        self.transport = StringTransport()
        self.protocol: ClientProtocol = ClientFactory(rehearsal.beam).buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.protocol.channel = replace(self.protocol.channel, **channel)
        self.said: list[bytes] = []
        self.methods: list[str] = []
        self._scram: ScramClient | None = None

    def send(self, data: bytes) -> list[bytes]:
        """Send, in pieces perhaps; gives the messages that came back once everything has arrived."""
        for piece in self._chunks(data):
            if self.protocol.over:
                break
            self.protocol.dataReceived(piece)
        return self.hear()

    def hear(self) -> list[bytes]:
        """What has come since last asked."""
        self._rehearsal.pump()
        got = messages(self.transport.value())
        self.transport.clear()
        self.said += got
        return got

    def log_in(self, user: str = "app", password: str = "sesame", **how: Any) -> str:
        """Answer what it is asked; gives "" for who is in, else the SQLSTATE. Waits for nothing."""
        answer = startup(user, how.pop("database", "shop"))
        while answer:
            got = self.send(answer)
            answer = b"".join(self._answer(frame, user, password, **how) for frame in got if frame[:1] == b"R")
        return self.error.get("C", "") if self.error else ("" if self.said[-1][:1] == b"Z" else "waits")

    @property
    def error(self) -> dict[str, str]:
        """The fields of the error that it was sent away with."""
        return next((backend.error_fields(frame) for frame in self.said if frame[:1] == b"E"), {})

    @property
    def closed(self) -> bool:
        """PgBeam has hung up."""
        return bool(self.transport.disconnecting)

    def vanish(self) -> None:
        """The socket is closed."""
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self._rehearsal.pump()

    def _answer(self, frame: bytes, user: str, password: str, *, binding: bytes | None = None) -> bytes:
        code = auth_code(frame)
        if code is Auth.OK:
            return b""
        if code is Auth.SASL_FINAL:
            assert self._scram is not None
            self._scram.verify(AuthenticationSASLFinal.from_bytes(frame).data)
            return b""
        self.methods.append(code.name)
        if code is Auth.CLEARTEXT_PASSWORD:
            return PasswordMessage(password.encode()).to_bytes()
        if code is Auth.MD5_PASSWORD:
            salt = AuthenticationMD5Password.from_bytes(frame).salt
            return PasswordMessage(md5_password(user, password, salt)).to_bytes()
        if code is Auth.SASL:
            self._scram = ScramClient("", password, lambda: b"nonce of the client", binding=binding)
            mechanism = self._scram.mechanism.encode()
            assert mechanism in AuthenticationSASL.from_bytes(frame).mechanisms
            return SASLInitialResponse(mechanism, self._scram.first()).to_bytes()
        assert self._scram is not None
        return SASLResponse(self._scram.final(AuthenticationSASLContinue.from_bytes(frame).data)).to_bytes()
