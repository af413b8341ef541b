"""Checks a client against a secret, as PostgreSQL does: the same challenges, the same errors."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pgbeam_core.errors import PgBeamError, ProtocolViolation
from pgbeam_core.wire.authentication import (
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
)
from pgbeam_core.wire.frontend import PasswordMessage, SASLInitialResponse, SASLResponse
from pgbeam_core.wire.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramKeys, ScramServer, Verifier
from pgbeam_core.wire.secrets import Md5Hash

Random = Callable[[int], bytes]
_PLAIN, _PLUS = SCRAM_SHA_256.encode(), SCRAM_SHA_256_PLUS.encode()
_OFFER = AuthenticationSASL((_PLAIN,)).to_bytes()
_OFFER_BOUND = AuthenticationSASL((_PLUS, _PLAIN)).to_bytes()
_GO_ON = AuthenticationSASLContinue(b"").to_bytes()
_WEAK = ("md5", "sha1")
"""Hashes in certificates' signatures in whose place RFC 5929 takes SHA-256."""


class WrongPassword(PgBeamError):
    """As PostgreSQL says it, whatever was wrong."""

    def __init__(self, user: str) -> None:
        super().__init__(f'password authentication failed for user "{user}"', sqlstate="28P01")


class Check:
    """Whether one client is who it says: a challenge, its answer, perhaps another challenge."""

    final = b""
    """What the client is told when it has proven itself, before AuthenticationOk."""

    def challenge(self) -> bytes:
        """What the client is asked before all else."""
        raise NotImplementedError

    def answered(self, frame: bytes) -> bytes | None:
        """The next challenge; None when the client has proven itself. Raises WrongPassword or ProtocolViolation."""
        raise NotImplementedError

    @property
    def keys(self) -> ScramKeys | Md5Hash | None:
        """What PgBeam can log in with as that user, once it has proven itself."""
        raise NotImplementedError


class ScramCheck(Check):
    """By SCRAM-SHA-256.

    certificate: of PgBeam in this connection, where it has TLS: then channel binding is offered too.
    """

    def __init__(self, user: str, secret: Verifier, random: Random, certificate: bytes | None) -> None:
        self._user = user
        self._secret = secret
        self._random = random
        self._binding = None if certificate is None else end_point(certificate)
        self._server: ScramServer | None = None
        self._is_last = False

    @property
    def keys(self) -> ScramKeys | Md5Hash | None:
        return None if self._server is None else self._server.keys

    def challenge(self) -> bytes:
        return _OFFER if self._binding is None else _OFFER_BOUND

    def answered(self, frame: bytes) -> bytes | None:
        server = self._server
        if server is None:
            return self._chosen(SASLInitialResponse.from_bytes(frame))
        data = SASLResponse.from_bytes(frame).data
        if not self._is_last:
            return self._first(server, data)
        final = server.final(data)
        if final is None:
            raise WrongPassword(self._user)
        self.final = AuthenticationSASLFinal(final).to_bytes()
        return None

    def _chosen(self, chosen: SASLInitialResponse) -> bytes:
        if chosen.mechanism != _PLAIN and (chosen.mechanism != _PLUS or self._binding is None):
            raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
        random = self._random
        server = self._server = ScramServer(
            self._secret, lambda: random(18), mechanism=chosen.mechanism.decode(), binding=self._binding
        )
        if chosen.data is None:  # a client may leave its first word for later
            return _GO_ON
        return self._first(server, chosen.data)

    def _first(self, server: ScramServer, data: bytes) -> bytes:
        self._is_last = True
        return AuthenticationSASLContinue(server.first(data)).to_bytes()


class Md5Check(Check):
    """By md5, as servers before PostgreSQL 10 did."""

    def __init__(self, user: str, secret: Md5Hash, random: Random) -> None:
        self._user = user
        self._secret = secret
        self._salt = random(4)

    @property
    def keys(self) -> ScramKeys | Md5Hash | None:
        return self._secret

    def challenge(self) -> bytes:
        return AuthenticationMD5Password(self._salt).to_bytes()

    def answered(self, frame: bytes) -> bytes | None:
        given = PasswordMessage.from_bytes(frame).password
        if not hmac.compare_digest(given, self._secret.answer(self._salt)):
            raise WrongPassword(self._user)
        return None


@lru_cache(maxsize=16)
def end_point(certificate: bytes) -> bytes | None:
    """What tls-server-end-point binds to (RFC 5929); None where that is not defined, as for Ed25519."""
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in _WEAK else algorithm.name
    return hashlib.new(name, certificate).digest() if name in hashlib.algorithms_available else None
