"""Logs PgBeam itself in to a server, with a password that the settings hold."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.pool import Server
from pgbeam_core.errors import PgBeamError
from pgbeam_core.wire.authentication import (
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    auth_code,
)
from pgbeam_core.wire.frontend import PasswordMessage, SASLInitialResponse, SASLResponse
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.scram import SCRAM_SHA_256, ScramClient, md5_password
from pgbeam_core.wire.tags import Auth


class StoredPassword:
    """A `Relay` that answers in nobody's name but PgBeam's. `asked` tells whether the server wanted a password."""

    def __init__(self, user: str, password: str | None, random: Callable[[int], bytes]) -> None:
        self.asked = False
        self.unanswered = False
        self._user = user
        self._password = password
        self._random = random
        self._scram: ScramClient | None = None
        self._server: Server | None = None

    def attach(self, server: Server) -> None:
        self._server = server

    def detach(self) -> None:
        """It has made up its mind."""
        self._server = None

    def accepted(self) -> None:
        """The server is satisfied."""

    def challenge(self, frame: bytes) -> None:
        """Answer, or hang up where PgBeam has no answer."""
        self.asked = True
        server = self._server
        assert server is not None
        if self._password is None:
            server.close("no password is known")
            return
        try:
            answer = self._answer(frame, self._password)
        except PgBeamError as error:
            server.close(error.message)
            return
        if answer is not None:
            server.respond(answer)

    def _answer(self, frame: bytes, password: str) -> bytes | None:
        code = auth_code(frame)
        if code is Auth.CLEARTEXT_PASSWORD:
            return PasswordMessage(raw(password)).to_bytes()
        if code is Auth.MD5_PASSWORD:
            salt = AuthenticationMD5Password.from_bytes(frame).salt
            return PasswordMessage(md5_password(self._user, password, salt)).to_bytes()
        if code is Auth.SASL and SCRAM_SHA_256.encode() in AuthenticationSASL.from_bytes(frame).mechanisms:
            self._scram = ScramClient("", password, lambda: self._random(18))
            return SASLInitialResponse(raw(SCRAM_SHA_256), self._scram.first()).to_bytes()
        if code is Auth.SASL_CONTINUE and self._scram is not None:
            return SASLResponse(self._scram.final(AuthenticationSASLContinue.from_bytes(frame).data)).to_bytes()
        if code is Auth.SASL_FINAL and self._scram is not None:
            self._scram.verify(AuthenticationSASLFinal.from_bytes(frame).data)
            return None
        raise PgBeamError(f"authentication method {code.name} is not one that a stored password answers")
