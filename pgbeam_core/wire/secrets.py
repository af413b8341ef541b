"""What is kept of passwords, as PostgreSQL and PgBouncer write it: SCRAM secrets, md5 hashes, passwords as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from pgbeam_core.wire.message import raw
from pgbeam_core.wire.scram_keys import SCRAM_SHA_256, ScramKeys, Verifier, parse_verifier

_MD5_LENGTH = 35
_HEX = frozenset(b"0123456789abcdef")


@dataclass(slots=True, frozen=True)
class Password:
    """A password as it was typed."""

    text: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class Md5Hash:
    """`md5` and the hash of password and user name: as good as the password where a server asks for md5."""

    text: bytes = field(repr=False)

    @classmethod
    def of(cls, user: str, password: bytes) -> Md5Hash:
        return cls(b"md5" + hashlib.md5(password + raw(user), usedforsecurity=False).hexdigest().encode())

    def answer(self, salt: bytes) -> bytes:
        """The password that is sent in answer to an AuthenticationMD5Password with that salt."""
        return b"md5" + hashlib.md5(self.text[3:] + salt, usedforsecurity=False).hexdigest().encode()


Secret = Password | Md5Hash | Verifier
"""What a client can be checked against."""
Proof = Password | Md5Hash | ScramKeys
"""What PgBeam can log in to a server with."""


VERIFIER, MD5, PASSWORD = "scram", "md5", "password"
"""Kinds of secrets."""


def kind_of(secret: Secret) -> str:
    """Which of them it is, however it is written."""
    return VERIFIER if isinstance(secret, Verifier) else MD5 if isinstance(secret, Md5Hash) else PASSWORD


def parse_secret(text: str) -> Secret:
    """What an entry of a list of users means. ValueError, without the text, for a SCRAM secret that is none."""
    if text.startswith(SCRAM_SHA_256 + "$"):
        return parse_verifier(text)
    data = raw(text)
    if len(data) == _MD5_LENGTH and data.startswith(b"md5") and _HEX.issuperset(data[3:]):
        return Md5Hash(data)
    return Password(data)
