"""Answers to AuthenticationRequest, written from RFC 5802 and the protocol documentation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from collections.abc import Generator

from .frames import cstring, frame


def md5_answer(user: str, password: str, salt: bytes) -> bytes:
    """The PasswordMessage for AuthenticationMD5Password."""
    inner = hashlib.md5((password + user).encode()).hexdigest()
    return frame(b"p", cstring("md5" + hashlib.md5(inner.encode() + salt).hexdigest()))


def scram(password: str) -> Generator[bytes, bytes, None]:
    """The client's side of SCRAM-SHA-256, as a generator: yields what to send, is sent what the server said."""
    nonce = base64.b64encode(os.urandom(18)).decode()
    bare = f"n=,r={nonce}"
    first = f"n,,{bare}".encode()
    said = yield frame(b"p", cstring("SCRAM-SHA-256") + struct.pack("!i", len(first)) + first)
    server_first = said.decode()
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    assert fields["r"].startswith(nonce), "the server's nonce does not begin with ours"
    final = f"c=biws,r={fields['r']}"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    message = f"{bare},{server_first},{final}".encode()
    key = _hmac(salted, b"Client Key")
    signature = _hmac(hashlib.sha256(key).digest(), message)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    said = yield frame(b"p", f"{final},p={proof}".encode())
    expected = base64.b64encode(_hmac(_hmac(salted, b"Server Key"), message)).decode()
    assert said.decode() == f"v={expected}", "the server could not prove that it knows the password"


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
