"""Asks a client for its password inside TLS, where its exchange with the server cannot be relayed.

libpq takes a relayed SCRAM exchange for an attack when both legs have TLS: the server offers channel binding, and
PgBeam cannot. So it asks for the password, logs in with it, and keeps what follows from it: keys, or the md5 hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core.api.pool import Server
from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.internal.keyring import Learned
from pgbeam_core.net.auth.exchange import LoginExchange, RelayedLogin
from pgbeam_core.wire.authentication import AuthenticationCleartextPassword, AuthenticationSASL, auth_code
from pgbeam_core.wire.frontend import PasswordMessage
from pgbeam_core.wire.scram import SCRAM_SHA_256
from pgbeam_core.wire.secrets import Md5Hash, Password
from pgbeam_core.wire.tags import Auth


class AskedPassword:
    """A `Relay`. What it cannot do by itself, such as a mechanism that it does not know, is relayed.

    learned: told what PgBeam can log in with from now on.
    """

    def __init__(
        self, exchange: LoginExchange, user: str, random: Callable[[int], bytes], learned: Callable[[Learned], None]
    ) -> None:
        self.repeatable = False
        self._exchange = exchange
        self._user = user
        self._learned = learned
        self._found: Learned | None = None
        self._relayed = RelayedLogin(exchange)
        self._stored = StoredSecret(user, self._ask, random, learned=self._keys)
        self._by_md5 = False
        self._way: RelayedLogin | StoredSecret | None = None

    @property
    def unanswered(self) -> bool:
        return self._exchange.unanswered

    @property
    def spent(self) -> bool:
        return self._exchange.spent

    def attach(self, server: Server) -> None:
        self._relayed.attach(server)
        self._stored.attach(server)

    def detach(self) -> None:
        """It has made up its mind."""
        self._relayed.detach()
        self._stored.detach()

    def challenge(self, frame: bytes) -> None:
        if self._way is None:
            self._way = self._stored if _is_understood(frame) else self._relayed
            self._by_md5 = auth_code(frame) is Auth.MD5_PASSWORD
        self._way.challenge(frame)

    def accepted(self) -> None:
        """The password was right: what was made of it is kept, and the password forgotten."""
        self._stored.accepted()
        secret, self._stored.secret = self._stored.secret, None
        if self._by_md5 and isinstance(secret, Password):
            self._found = Md5Hash.of(self._user, secret.text)
        if self._found is not None:
            self.repeatable = True
            self._learned(self._found)
        self._exchange.accepted()

    def _keys(self, keys: Any) -> None:
        self._found = keys

    def _ask(self) -> Deferred[Any]:
        return self._exchange.ask(AuthenticationCleartextPassword().to_bytes()).addCallback(self._told)

    def _told(self, frame: bytes) -> Password:
        return Password(PasswordMessage.from_bytes(frame).password)


def _is_understood(frame: bytes) -> bool:
    code = auth_code(frame)
    if code is Auth.SASL:
        return SCRAM_SHA_256.encode() in AuthenticationSASL.from_bytes(frame).mechanisms
    return code is Auth.MD5_PASSWORD
