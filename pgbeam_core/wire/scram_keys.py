"""What SCRAM-SHA-256 keeps instead of a password: keys to log in with, and the verifier that servers check against."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Self

from pgbeam_core.wire.message import raw
from pgbeam_core.wire.passwords import saslprep

SCRAM_SHA_256 = "SCRAM-SHA-256"

KEY_LENGTH = 32
_MAX_ITERATIONS = 2**31 - 1
_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def keyed_hash(key: bytes, data: bytes) -> bytes:
    """HMAC (RFC 2104) with SHA-256. `hmac.digest` has OpenSSL look for the algorithm anew: thrice as long."""
    padded = (key if len(key) <= _BLOCK else hashlib.sha256(key).digest()).ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(padded.translate(_INNER) + data).digest()
    return hashlib.sha256(padded.translate(_OUTER) + inner).digest()


def decoded(encoded: bytes) -> bytes | None:
    """What base64 holds; None when it is none."""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return None


@dataclass(slots=True, frozen=True)
class ScramKeys:
    """All that logging in as a user takes, and no password. Good for one salt and iteration count only."""

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    salt: bytes
    iterations: int

    @property
    def stored_key(self) -> bytes:
        """The hash of the client key: what a server keeps."""
        return hashlib.sha256(self.client_key).digest()

    @classmethod
    def from_password(cls, password: str | bytes, salt: bytes, iterations: int) -> Self:
        """Derive the keys. Slow on purpose: about a millisecond for PostgreSQL's 4096 iterations."""
        salted = hashlib.pbkdf2_hmac("sha256", saslprep(password), salt, iterations)
        return cls(keyed_hash(salted, b"Client Key"), keyed_hash(salted, b"Server Key"), salt, iterations)


@dataclass(slots=True, frozen=True)
class Verifier:
    """What PostgreSQL keeps of a password, in `pg_authid.rolpassword`. `str` gives that text."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __str__(self) -> str:
        salt, stored, server = (base64.b64encode(it).decode() for it in (self.salt, self.stored_key, self.server_key))
        return f"{SCRAM_SHA_256}${self.iterations}:{salt}${stored}:{server}"


def verifier(password: str | bytes, salt: bytes, iterations: int = 4096) -> str:
    """The text that PostgreSQL would keep of this password."""
    keys = ScramKeys.from_password(password, salt, iterations)
    return str(Verifier(iterations, salt, keys.stored_key, keys.server_key))


def parse_verifier(text: str) -> Verifier:
    """Read what `verifier` wrote. Raise ValueError for anything else; its message does not repeat the text."""
    scheme, _, rest = raw(text).partition(b"$")
    parameters, _, keys = rest.partition(b"$")
    iterations, _, encoded_salt = parameters.partition(b":")
    salt, stored, server = (decoded(part) for part in (encoded_salt, *_halves(keys)))
    if scheme != SCRAM_SHA_256.encode() or not is_count(iterations) or salt is None:
        raise ValueError("not a SCRAM-SHA-256 verifier")
    if stored is None or server is None or not len(stored) == len(server) == KEY_LENGTH:
        raise ValueError("not a SCRAM-SHA-256 verifier")
    return Verifier(int(iterations), salt, stored, server)


def _halves(keys: bytes) -> tuple[bytes, bytes]:
    stored, _, server = keys.partition(b":")
    return stored, server


def is_count(digits: bytes) -> bool:
    """Whether it can be a number of iterations."""
    return digits.isdigit() and len(digits) <= 10 and 1 <= int(digits) <= _MAX_ITERATIONS


def mock_verifier(user: str, secret: bytes, iterations: int = 4096) -> Verifier:
    """For a user that does not exist: no proof fits, and the salt is as constant as a real one.

    Without it the first message would tell which users exist. `secret` is any random bytes, kept while running.
    """
    salt = hashlib.sha256(raw(user) + secret).digest()[:16]
    return Verifier(iterations, salt, bytes(KEY_LENGTH), bytes(KEY_LENGTH))
