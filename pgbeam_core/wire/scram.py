"""SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it, from the client's and from the server's side.

The payloads travel in SASLInitialResponse, SASLContinue, SASLResponse and SASLFinal. Whoever has `ScramKeys` can log in
without the password; the server's side gets them from the client's own proof.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import NoReturn

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.passwords import md5_password, saslprep
from pgbeam_core.wire.scram_keys import (
    KEY_LENGTH,
    SCRAM_SHA_256,
    ScramKeys,
    Verifier,
    decoded,
    is_count,
    keyed_hash,
    mock_verifier,
    parse_verifier,
    verifier,
)

__all__ = [
    "SCRAM_SHA_256",
    "SCRAM_SHA_256_PLUS",
    "Nonce",
    "ScramClient",
    "ScramKeys",
    "ScramServer",
    "StaleKeys",
    "Verifier",
    "md5_password",
    "mock_verifier",
    "parse_verifier",
    "saslprep",
    "verifier",
]

SCRAM_SHA_256_PLUS = "SCRAM-SHA-256-PLUS"

Nonce = Callable[[], bytes]
"""Gives random bytes, 18 as in PostgreSQL or more; they are sent in base64."""

_BINDING = b"p=tls-server-end-point,,"


class StaleKeys(ProtocolViolation):
    """The server's salt or iterations are not those the keys were made with: its password was set anew."""

    def __init__(self) -> None:
        super().__init__("SCRAM keys do not fit the server's secret", sqlstate="28P01")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(KEY_LENGTH, "big")


def _malformed(why: str) -> NoReturn:
    raise ProtocolViolation(f"malformed SCRAM message ({why})")


class _Attributes:
    """Read the `name=value` pairs of a SCRAM message from left to right."""

    def __init__(self, message: bytes) -> None:
        if not message or 0 in message:
            _malformed("empty message" if not message else "length mismatch")
        self._left = message

    @property
    def left(self) -> bytes:
        return self._left

    def take(self, name: bytes) -> bytes:
        """The value of the next pair, which must have that name."""
        if self._left[:1] != name:
            _malformed(f'attribute "{name.decode()}" expected')
        return self.any()[1]

    def any(self) -> tuple[bytes, bytes]:
        """Name and value of the next pair."""
        pair, _, self._left = self._left.partition(b",")
        if not pair[:1].isalpha() or pair[1:2] != b"=":
            _malformed("attribute expected")
        return pair[:1], pair[2:]

    def skip(self, count: int) -> None:
        self._left = self._left[count:]


class ScramClient:
    """Log in: `first` to the server, its answer into `final`, its last word into `verify`.

    user: PostgreSQL takes the one of the startup packet, so it may be empty, as libpq leaves it.
    binding: the hash of the server's TLS certificate for tls-server-end-point; None for no channel binding.
    """

    def __init__(
        self, user: str, secret: str | bytes | ScramKeys, nonce: Nonce, *, binding: bytes | None = None
    ) -> None:
        self._secret = secret
        self._header = b"n,," if binding is None else _BINDING
        self._binding = binding or b""
        self._nonce = base64.b64encode(nonce())
        name = raw(user).replace(b"=", b"=3D").replace(b",", b"=2C")
        self._bare = b"n=" + name + b",r=" + self._nonce
        self._expected: bytes | None = None
        self._keys: ScramKeys | None = None

    @property
    def mechanism(self) -> str:
        return SCRAM_SHA_256 if self._header == b"n,," else SCRAM_SHA_256_PLUS

    @property
    def keys(self) -> ScramKeys | None:
        """The keys that it logs in with, to be used again; None before `final`. Trust them after `verify` only."""
        return self._keys

    def first(self) -> bytes:
        return self._header + self._bare

    def use(self, secret: str | bytes | ScramKeys) -> None:
        """Log in with another secret; before `final`, or after it has found the keys stale."""
        self._secret = secret

    def iterations(self, server_first: bytes) -> int:
        """How often the password has to be hashed, if there are no keys: the server's choice. As `final` otherwise."""
        return self._read(server_first)[2]

    def final(self, server_first: bytes) -> bytes:
        """The client-final-message. Raise ProtocolViolation, or `StaleKeys` when only the password would do."""
        nonce, salt, iterations = self._read(server_first)
        keys = self._keys = self._keys_for(salt, iterations)
        without_proof = b"c=" + base64.b64encode(self._header + self._binding) + b",r=" + nonce
        auth_message = b",".join((self._bare, server_first, without_proof))
        self._expected = keyed_hash(keys.server_key, auth_message)
        proof = _xor(keys.client_key, keyed_hash(keys.stored_key, auth_message))
        return without_proof + b",p=" + base64.b64encode(proof)

    def _read(self, server_first: bytes) -> tuple[bytes, bytes, int]:
        attributes = _Attributes(server_first)
        nonce = attributes.take(b"r")
        if len(nonce) <= len(self._nonce) or not nonce.startswith(self._nonce):
            raise ProtocolViolation("invalid SCRAM response (nonce mismatch)")
        salt, iterations = decoded(attributes.take(b"s")), attributes.take(b"i")
        if salt is None:
            _malformed("invalid salt")
        if not is_count(iterations):
            _malformed("invalid iteration count")
        return nonce, salt, int(iterations)

    def _keys_for(self, salt: bytes, iterations: int) -> ScramKeys:
        if not isinstance(self._secret, ScramKeys):
            return ScramKeys.from_password(self._secret, salt, iterations)
        if (self._secret.salt, self._secret.iterations) != (salt, iterations):
            raise StaleKeys
        return self._secret

    def verify(self, server_final: bytes) -> None:
        """Check that the server knows the user's secret too. Raise ProtocolViolation when it does not."""
        if self._expected is None:
            raise ProtocolViolation("invalid SCRAM exchange state")
        attributes = _Attributes(server_final)
        if attributes.left[:1] == b"e":
            shown = attributes.take(b"e").decode("ascii", "replace")
            raise ProtocolViolation(f"error received from server in SCRAM exchange: {shown}")
        signature = decoded(attributes.take(b"v"))
        if signature is None or len(signature) != KEY_LENGTH:
            _malformed("invalid server signature")
        if not hmac.compare_digest(signature, self._expected):
            raise ProtocolViolation("incorrect server signature", sqlstate="28P01")


class ScramServer:
    """Check a client: its first message into `first`, its second into `final`.

    mechanism: the one the client chose. binding: the hash of our TLS certificate where the connection has TLS, so that
    both mechanisms were offered; None where it has not.
    """

    def __init__(
        self, secret: Verifier, nonce: Nonce, *, mechanism: str = SCRAM_SHA_256, binding: bytes | None = None
    ) -> None:
        if mechanism != SCRAM_SHA_256 and (mechanism != SCRAM_SHA_256_PLUS or binding is None):
            raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
        self._verifier = secret
        self._plus = mechanism == SCRAM_SHA_256_PLUS
        self._binding = binding
        self._own_nonce = base64.b64encode(nonce())
        self._header = b""
        self._bare = b""
        self._nonce = b""
        self._first = b""
        self._keys: ScramKeys | None = None

    @property
    def keys(self) -> ScramKeys | None:
        """The user's keys, once `final` has found the proof right."""
        return self._keys

    def first(self, client_first: bytes) -> bytes:
        self._header, self._bare = self._opened(client_first)
        attributes = _Attributes(self._bare)
        if attributes.left[:1] == b"m":
            raise ProtocolViolation("client requires an unsupported SCRAM extension", sqlstate="0A000")
        attributes.take(b"n")
        nonce = attributes.take(b"r")
        if not all(0x21 <= char <= 0x7E for char in nonce):
            raise ProtocolViolation("non-printable characters in SCRAM nonce")
        while attributes.left:
            attributes.any()
        self._nonce = nonce + self._own_nonce
        salt = base64.b64encode(self._verifier.salt)
        self._first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, self._verifier.iterations)
        return self._first

    def _opened(self, client_first: bytes) -> tuple[bytes, bytes]:
        """The GS2 header, checked, and what follows it."""
        attributes = _Attributes(client_first)
        flag = client_first[:1]
        if flag == b"p":
            self._check_binding_type(attributes)
        elif flag in (b"n", b"y"):
            self._check_unbound(flag)
            attributes.skip(1)
            if attributes.left[:1] != b",":
                _malformed("comma expected")
            attributes.skip(1)
        else:
            _malformed("unexpected channel-binding flag")
        if attributes.left[:1] == b"a":
            raise ProtocolViolation("client uses authorization identity, but it is not supported", sqlstate="0A000")
        if attributes.left[:1] != b",":
            _malformed("unexpected attribute in client-first-message")
        attributes.skip(1)
        return client_first[: len(client_first) - len(attributes.left)], attributes.left

    def _check_binding_type(self, attributes: _Attributes) -> None:
        if not self._plus:
            _malformed("channel binding data without SCRAM-SHA-256-PLUS")
        kind = attributes.take(b"p")
        if kind != b"tls-server-end-point":
            shown = "".join(chr(char) if 0x21 <= char <= 0x7E else "?" for char in kind[:30])
            raise ProtocolViolation(f'unsupported SCRAM channel-binding type "{shown}"')

    def _check_unbound(self, flag: bytes) -> None:
        if self._plus:
            _malformed("SCRAM-SHA-256-PLUS without channel binding data")
        if flag == b"y" and self._binding is not None:
            raise ProtocolViolation("SCRAM channel binding negotiation error", sqlstate="28000")

    def final(self, client_final: bytes) -> bytes | None:
        """The server-final-message; None when the proof is wrong, as with a wrong password. Raise ProtocolViolation."""
        if not self._first:
            raise ProtocolViolation("invalid SCRAM exchange state")
        proof = self._read_final(client_final)
        without_proof = client_final[: client_final.rindex(b",p=")]
        auth_message = b",".join((self._bare, self._first, without_proof))
        known = self._verifier
        client_key = _xor(proof, keyed_hash(known.stored_key, auth_message))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), known.stored_key):
            return None
        self._keys = ScramKeys(client_key, known.server_key, known.salt, known.iterations)
        return b"v=" + base64.b64encode(keyed_hash(known.server_key, auth_message))

    def _read_final(self, client_final: bytes) -> bytes:
        attributes = _Attributes(client_final)
        expected = base64.b64encode(self._header + (self._binding or b"" if self._plus else b""))
        if not hmac.compare_digest(attributes.take(b"c"), expected):
            if self._plus:
                raise ProtocolViolation("SCRAM channel binding check failed", sqlstate="28000")
            raise ProtocolViolation("unexpected SCRAM channel-binding attribute in client-final-message")
        if not hmac.compare_digest(attributes.take(b"r"), self._nonce):
            raise ProtocolViolation("invalid SCRAM response (nonce does not match)")
        name, value = attributes.any()
        while name != b"p":
            name, value = attributes.any()
        proof = decoded(value)
        if proof is None or len(proof) != KEY_LENGTH:
            _malformed("malformed proof in client-final-message")
        if attributes.left:
            _malformed("garbage found at the end of client-final-message")
        return proof
