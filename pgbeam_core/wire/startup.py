"""What a client sends before the first message: a length, a code or version, and no type byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pgbeam_core.errors import AncientProtocol, NoUser, ProtocolViolation, Unanswered
from pgbeam_core.wire.backend import NegotiateProtocolVersion
from pgbeam_core.wire.message import INT32, INVALID_FORMAT, UINT32, cstring, raw, text
from pgbeam_core.wire.options import options_to_settings, without_options, without_word
from pgbeam_core.wire.tags import CANCEL_REQUEST, GSSENC_REQUEST, SSL_REQUEST

__all__ = [
    "CancelRequest",
    "GSSENCRequest",
    "Packet",
    "SSLRequest",
    "StartupMessage",
    "StartupReader",
    "negotiate",
    "options_to_settings",
    "without_options",
    "without_word",
]

MAJOR = 3
NEWEST_MINOR = 2

MIN_LENGTH = 8
MAX_LENGTH = 10_004
"""PostgreSQL takes 10,000 bytes behind the length word."""

INVALID_LENGTH = "invalid length of startup packet"

_PROTOCOL_OPTION = "_pq_."


def _packet(code: int, body: bytes = b"") -> bytes:
    return UINT32.pack(len(body) + 8) + UINT32.pack(code) + body


def _opened(data: bytes) -> tuple[int, bytes]:
    """Code and body of a whole packet."""
    if len(data) < MIN_LENGTH or len(data) > MAX_LENGTH or UINT32.unpack_from(data)[0] != len(data):
        raise Unanswered(INVALID_LENGTH)
    return UINT32.unpack_from(data, 4)[0], data[8:]


@dataclass(slots=True, frozen=True)
class StartupMessage:
    """The wish to talk: protocol version and parameters in the order given, of doubled ones the last value.

    Bytes that are not UTF-8 survive as surrogates.
    """

    major: int
    minor: int
    parameters: dict[str, str]

    @property
    def version(self) -> int:
        """major << 16 | minor, as messages carry it."""
        return self.major << 16 | self.minor

    def to_bytes(self) -> bytes:
        """The whole packet. Raise ValueError for an empty name, which would end the list too early."""
        if "" in self.parameters:
            raise ValueError("a startup parameter needs a name")
        pairs = (cstring(raw(name)) + cstring(raw(value)) for name, value in self.parameters.items())
        return _packet(self.version, b"".join(pairs) + b"\0")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole packet.

        Raise ProtocolViolation: 08P01 for a bad layout, 0A000 for another major version, 28000 when no user is named.
        """
        version, body = _opened(data)
        major, minor = version >> 16, version & 0xFFFF
        if major != MAJOR:
            raise (AncientProtocol if 0 < major < MAJOR else ProtocolViolation)(
                f"unsupported frontend protocol {major}.{minor}: server supports 3.0 to {MAJOR}.{NEWEST_MINOR}",
                sqlstate="0A000",
            )
        startup = cls(major, minor, _parameters(body))
        if not startup.parameters.get("user"):
            raise NoUser(negotiate(startup) or b"")
        return startup


def _parameters(body: bytes) -> dict[str, str]:
    words = body.split(b"\0")
    # Pairs, then the empty name that ends them, then what split leaves behind the last zero byte.
    if len(words) % 2 or words[-2:] != [b"", b""] or b"" in words[:-2:2]:
        raise ProtocolViolation("invalid startup packet layout: expected terminator as last byte")
    return {text(name): text(value) for name, value in zip(words[:-2:2], words[1:-2:2], strict=True)}


@dataclass(slots=True, frozen=True)
class SSLRequest:
    """May we speak TLS? Answered by one byte, S or N."""

    def to_bytes(self) -> bytes:
        return _packet(SSL_REQUEST)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole packet. Raise ProtocolViolation when it is another."""
        _expect(SSL_REQUEST, _opened(data)[0])
        return cls()


@dataclass(slots=True, frozen=True)
class GSSENCRequest:
    """May we encrypt with GSSAPI? Answered by one byte, G or N."""

    def to_bytes(self) -> bytes:
        return _packet(GSSENC_REQUEST)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole packet. Raise ProtocolViolation when it is another."""
        _expect(GSSENC_REQUEST, _opened(data)[0])
        return cls()


@dataclass(slots=True, frozen=True)
class CancelRequest:
    """Stop what the session with this key is doing. `secret`: 4 to 256 bytes. Nothing is answered."""

    pid: int
    secret: bytes

    def to_bytes(self) -> bytes:
        """The whole packet. Raise ValueError for a secret of impossible length."""
        if not 4 <= len(self.secret) <= 256:
            raise ValueError("a cancel key has 4 to 256 bytes")
        return _packet(CANCEL_REQUEST, INT32.pack(self.pid) + self.secret)

    def __repr__(self) -> str:
        return f"CancelRequest(pid={self.pid}, ...)"  # whoever reads the secret can cancel

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Decode a whole packet. Raise ProtocolViolation when it is another or the key has an impossible length."""
        code, body = _opened(data)
        _expect(CANCEL_REQUEST, code)
        if len(body) < 4:
            raise Unanswered("invalid length of cancel request packet")
        if not 4 <= len(body) - 4 <= 256:
            raise Unanswered("invalid length of cancel key in cancel request packet")
        return cls(INT32.unpack_from(body)[0], body[4:])


def _expect(wanted: int, code: int) -> None:
    if code != wanted:
        raise ProtocolViolation(INVALID_FORMAT)


Packet = StartupMessage | SSLRequest | GSSENCRequest | CancelRequest

_REQUESTS: dict[int, type[SSLRequest | GSSENCRequest | CancelRequest]] = {
    SSL_REQUEST: SSLRequest,
    GSSENC_REQUEST: GSSENCRequest,
    CANCEL_REQUEST: CancelRequest,
}


class StartupReader:
    """Read the packets that come before the first message: requests for encryption, then one StartupMessage.

    Each kind of encryption may be asked for once. A second time its code is no more than a version that nobody speaks.

    Packets come one at a time, because the client waits for the answer to each. What follows a packet stays held, for
    `rest` to give to whoever reads on, or for the next `feed` to read as another packet.
    """

    __slots__ = ("_held", "_requests")

    def __init__(self) -> None:
        self._held = b""
        self._requests = dict(_REQUESTS)

    def feed(self, data: bytes) -> Packet | None:
        """Take what arrived; give the packet when it is whole. Raise ProtocolViolation."""
        self._held += data
        if len(self._held) < 4:
            return None
        length: int = UINT32.unpack_from(self._held)[0]
        if not MIN_LENGTH <= length <= MAX_LENGTH:
            raise Unanswered(INVALID_LENGTH)
        if len(self._held) < length:
            return None
        packet, self._held = self._held[:length], self._held[length:]
        code: int = UINT32.unpack_from(packet, 4)[0]
        return self._requests.pop(code, StartupMessage).from_bytes(packet)

    def encrypted(self) -> None:
        """The connection is: there is nothing to ask for any more."""
        self._requests = {CANCEL_REQUEST: CancelRequest}

    def rest(self) -> bytes:
        """Give up what came after the last packet."""
        held, self._held = self._held, b""
        return held


def negotiate(startup: StartupMessage) -> bytes | None:
    """The NegotiateProtocolVersion frame for a client that asked for more than there is; None when it did not.

    As PostgreSQL 18 answers: the version that will be spoken is the older of the client's and 3.2, so that 3.1, which
    was never defined, passes; every `_pq_.` option is unknown.
    """
    unknown = tuple(name for name in startup.parameters if name.startswith(_PROTOCOL_OPTION))
    if startup.minor <= NEWEST_MINOR and not unknown:
        return None
    spoken = startup.major << 16 | min(startup.minor, NEWEST_MINOR)
    return NegotiateProtocolVersion(spoken, unknown).to_bytes()
