"""Logs PgBeam itself in to a server: with a password, with its md5 hash, or with keys that a client's proof gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.pool import Server
from pgbeam_core.errors import PasswordNeeded, PgBeamError
from pgbeam_core.wire.authentication import (
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    auth_code,
)
from pgbeam_core.wire.frontend import PasswordMessage, SASLInitialResponse, SASLResponse
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.scram import SCRAM_SHA_256, ScramClient, ScramKeys, StaleKeys
from pgbeam_core.wire.secrets import Md5Hash, Password, Proof
from pgbeam_core.wire.tags import Auth

log = Logger(__name__)

Obtain = Callable[[], "Proof | Deferred[Any] | None"]
_INLINE_ITERATIONS = 16_384
"""Hashing so often takes some milliseconds; more is done beside the loop."""
_MOST_ITERATIONS = 10_000_000
"""A server that asks for more, some seconds, is not one to be logged in to."""


class StoredSecret:
    """A `Relay` that answers in nobody's name but PgBeam's. `asked` tells whether the server wanted a password.

    obtain: gives what to log in with, when the server asks. keys: what a password comes to, if that is known. learned:
    told the SCRAM keys once the server has shown that it knows the secret too. refused: told what the server did not
    take. renewed: likewise; says whether there is another to be tried.
    """

    repeatable = True
    unanswered = False
    spent = False

    def __init__(
        self,
        user: str,
        obtain: Obtain,
        random: Callable[[int], bytes],
        *,
        keys: ScramKeys | None = None,
        learned: Callable[[ScramKeys], None] | None = None,
        refused: Callable[[Proof], None] | None = None,
        renewed: Callable[[Proof], Deferred[bool]] | None = None,
    ) -> None:
        self.asked = False
        self.user = user
        self.secret: Proof | None = None
        self._obtain = obtain
        self._keys = keys
        self._random = random
        self._learned = learned
        self._refused = refused
        self._renewed = renewed
        self._scram: ScramClient | None = None
        self._verified = False
        self._server: Server | None = None
        self._obtaining: Deferred[Any] | None = None

    def attach(self, server: Server) -> None:
        self._server = server

    def detach(self) -> None:
        """It has made up its mind."""
        self._server = None
        if self._obtaining is not None:
            obtaining, self._obtaining = self._obtaining, None
            obtaining.addErrback(lambda _: None)
            obtaining.cancel()

    def accepted(self) -> None:
        """The server is satisfied, and has perhaps proven itself."""
        if self._learned is not None and self._verified and self._scram is not None and self._scram.keys is not None:
            self._learned(self._scram.keys)

    def refused(self) -> Deferred[bool]:
        """The server has not taken what it was given. Tells whether another login with the same relay may do better."""
        secret = self.secret
        if secret is None:
            return succeed(False)
        if self._refused is not None:
            self._refused(secret)
        self.asked = False
        self._scram = None
        return succeed(False) if self._renewed is None else self._renewed(secret)

    def challenge(self, frame: bytes) -> None:
        """Answer, or give the login up where PgBeam has no answer."""
        if self.asked:
            self._respond(frame)
            return
        self.asked = True
        try:
            secret = self._obtain()
        except PgBeamError as error:
            self._give_up(error)
            return
        if isinstance(secret, Deferred):
            self._obtaining = secret
            secret.addCallbacks(self._obtained, self._failed, callbackArgs=(frame,))
        else:
            self._obtained(secret, frame)

    def _obtained(self, secret: Proof | None, frame: bytes) -> None:
        self._obtaining = None
        self.secret = secret
        if secret is None:
            message = f'server asks for the password of user "{self.user}", which PgBeam does not have'
            self._give_up(PasswordNeeded(message, hint="Connect again: a new login opens a new server."))
        else:
            self._respond(frame)

    def _failed(self, failure: Failure) -> None:
        self._obtaining = None
        if failure.check(CancelledError):  # the client has left, or nobody waits for the server any more
            return
        error = failure.value
        if not isinstance(error, PgBeamError):
            log.failure("no secret of user {user}", failure, user=self.user)
            error = PasswordNeeded(f'the password of user "{self.user}" could not be had')
        self._give_up(error)

    def _give_up(self, error: PgBeamError) -> None:
        if self._server is not None:
            self._server.failed(Failure(error))

    def _respond(self, frame: bytes) -> None:
        try:
            answer = self._answer(frame)
        except StaleKeys:
            if self._refused is not None and self.secret is not None:
                self._refused(self.secret)
            message = f'the SCRAM secret of user "{self.user}" is not the one that the server has'
            hint = "Its password was changed, or the settings hold another secret than the server."
            self._give_up(PasswordNeeded(message, hint=hint, sqlstate="28P01"))
        except PgBeamError as error:
            self._give_up(PasswordNeeded(error.message, hint=error.hint, sqlstate=error.sqlstate))
        else:
            if isinstance(answer, Deferred):
                self._obtaining = answer
                answer.addCallbacks(self._hashed, self._failed)
            elif answer is not None and self._server is not None:
                self._server.respond(answer)

    def _hashed(self, answer: bytes) -> None:
        self._obtaining = None
        if self._server is not None:
            self._server.respond(answer)

    def _answer(self, frame: bytes) -> bytes | Deferred[bytes] | None:
        code, secret = auth_code(frame), self.secret
        if code is Auth.CLEARTEXT_PASSWORD and isinstance(secret, Password):
            return PasswordMessage(secret.text).to_bytes()
        if code is Auth.MD5_PASSWORD and not isinstance(secret, ScramKeys | None):
            held = Md5Hash.of(self.user, secret.text) if isinstance(secret, Password) else secret
            return PasswordMessage(held.answer(AuthenticationMD5Password.from_bytes(frame).salt)).to_bytes()
        if code is Auth.SASL and isinstance(secret, Password | ScramKeys) and _has_scram(frame):
            known = secret if isinstance(secret, ScramKeys) else self._keys or secret.text
            self._scram = ScramClient("", known, lambda: self._random(18))
            return SASLInitialResponse(raw(SCRAM_SHA_256), self._scram.first()).to_bytes()
        if code is Auth.SASL_CONTINUE and self._scram is not None:
            return self._final(self._scram, AuthenticationSASLContinue.from_bytes(frame).data)
        if code is Auth.SASL_FINAL and self._scram is not None:
            self._scram.verify(AuthenticationSASLFinal.from_bytes(frame).data)
            self._verified = True
            return None
        raise PasswordNeeded(self._no_answer_to(code))

    def _final(self, scram: ScramClient, server_first: bytes) -> bytes | Deferred[bytes]:
        if self._keys is not None or not isinstance(self.secret, Password):
            try:
                return SASLResponse(scram.final(server_first)).to_bytes()
            except StaleKeys:
                if not isinstance(self.secret, Password):
                    raise
                scram.use(self.secret.text)
        iterations = scram.iterations(server_first)
        if iterations > _MOST_ITERATIONS:
            raise PasswordNeeded(f"server wants the password hashed {iterations} times")
        if iterations > _INLINE_ITERATIONS:
            return deferToThread(lambda: SASLResponse(scram.final(server_first)).to_bytes())
        return SASLResponse(scram.final(server_first)).to_bytes()

    def _no_answer_to(self, code: Auth) -> str:
        kinds = {ScramKeys: "SCRAM keys", Md5Hash: "an md5 hash", Password: "a password"}
        held = kinds[type(self.secret)] if self.secret is not None else "nothing"
        wants = f'server wants to authenticate user "{self.user}" by {code.name}'
        return f"{wants}, for which {held}, all that PgBeam has, is of no use"


def _has_scram(frame: bytes) -> bool:
    return SCRAM_SHA_256.encode() in AuthenticationSASL.from_bytes(frame).mechanisms
