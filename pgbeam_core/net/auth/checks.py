"""Checks a client against a secret, as PostgreSQL does: the same questions, the same errors."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from twisted.internet.defer import Deferred, inlineCallbacks

from pgbeam_core.errors import PgBeamError, ProtocolViolation
from pgbeam_core.net.auth.exchange import LoginExchange
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
_WEAK = ("md5", "sha1")
"""Hashes in certificates' signatures in whose place RFC 5929 takes SHA-256."""


class WrongPassword(PgBeamError):
    """As PostgreSQL says it, whatever was wrong."""

    sqlstate = "28P01"

    def __init__(self, user: str) -> None:
        super().__init__(f'password authentication failed for user "{user}"')


def check_scram(
    exchange: LoginExchange, user: str, secret: Verifier, random: Random, certificate: bytes | None
) -> Deferred[tuple[ScramKeys, bytes]]:
    """The client's keys, and the message that tells it that they are right. Fails with WrongPassword.

    certificate: of PgBeam in this connection, where it has TLS: then channel binding is offered too.
    """
    return _scram(exchange, user, secret, random, certificate)


@inlineCallbacks
def _scram(exchange: LoginExchange, user: str, secret: Verifier, random: Random, certificate: bytes | None) -> Any:
    binding = None if certificate is None else end_point(certificate)
    offered = (_PLAIN,) if binding is None else (_PLUS, _PLAIN)
    answer: bytes = yield exchange.ask(AuthenticationSASL(offered).to_bytes())
    chosen = SASLInitialResponse.from_bytes(answer)
    if chosen.mechanism not in offered:
        raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
    server = ScramServer(secret, lambda: random(18), mechanism=chosen.mechanism.decode(), binding=binding)
    first = chosen.data
    if first is None:  # a client may leave its first word for later
        answer = yield exchange.ask(AuthenticationSASLContinue(b"").to_bytes())
        first = SASLResponse.from_bytes(answer).data
    answer = yield exchange.ask(AuthenticationSASLContinue(server.first(first)).to_bytes())
    final = server.final(SASLResponse.from_bytes(answer).data)
    if final is None or server.keys is None:
        raise WrongPassword(user)
    return server.keys, AuthenticationSASLFinal(final).to_bytes()


@inlineCallbacks
def check_md5(exchange: LoginExchange, user: str, secret: Md5Hash, random: Random) -> Any:
    """Fires with None. Fails with WrongPassword."""
    salt = random(4)
    answer: bytes = yield exchange.ask(AuthenticationMD5Password(salt).to_bytes())
    given = PasswordMessage.from_bytes(answer).password
    if not hmac.compare_digest(given, secret.answer(salt)):
        raise WrongPassword(user)


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
