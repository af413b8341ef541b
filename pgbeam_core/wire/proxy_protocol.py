"""PROXY protocol, versions 1 and 2: what a load balancer says of the client before the client's own bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pgbeam_core.errors import Unanswered

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1 = 107
"""Bytes of a header of version 1, its line end included."""
MAX_V2 = 4096
"""Bytes behind the fixed part of version 2; the addresses take 36, or 216 for sockets in the file system."""
_HEAD_V2 = 16
_AUTHORITY, _CRC32C = 0x02, 0x03
_ADDRESSES = {0x1: ("!4s4sHH", IPv4Address), 0x2: ("!16s16sHH", IPv6Address)}
_FAMILIES_V1 = {"TCP4": IPv4Address, "TCP6": IPv6Address}
_UNIX = 0x3
_UNIX_BYTES = 216


@dataclass(frozen=True)
class ProxyHeader:
    """`address` is None where the proxy speaks for itself, a health check for example, or does not know."""

    address: str | None = None
    port: int = 0
    authority: str | None = None
    """The host name that the client asked the proxy for (SNI)."""


class ProxyReader:
    """Reads one header. What follows it is `rest`."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take what arrived; give the header when it is whole. Raise Unanswered if there is none."""
        held = self._held = self._held + data
        if held[:5] == b"PROXY"[: len(held)]:
            return self._line()
        if held[:12] == SIGNATURE[: len(held)]:
            return self._binary()
        raise _wrong("it does not begin with one")

    def rest(self) -> bytes:
        """Give up what came after the header."""
        held, self._held = self._held, b""
        return held

    def _line(self) -> ProxyHeader | None:
        end = self._held.find(b"\r\n", 0, MAX_V1)
        if end < 0:
            if len(self._held) >= MAX_V1:
                raise _wrong("its line is too long")
            return None
        line, self._held = self._held[:end], self._held[end + 2 :]
        return _version_1(line)

    def _binary(self) -> ProxyHeader | None:
        held = self._held
        if len(held) < _HEAD_V2:
            return None
        (length,) = struct.unpack_from("!H", held, 14)
        if length > MAX_V2:
            raise _wrong(f"it is too long: {length} bytes")
        if len(held) < _HEAD_V2 + length:
            return None
        header, self._held = held[: _HEAD_V2 + length], held[_HEAD_V2 + length :]
        return _version_2(header)


def _wrong(reason: str) -> Unanswered:
    return Unanswered(f"invalid PROXY protocol header: {reason}")


def _version_1(line: bytes) -> ProxyHeader:
    try:
        words = line.decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise _wrong("it is not ASCII") from None
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return ProxyHeader()
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in _FAMILIES_V1:
        raise _wrong("its words are not those of TCP4, TCP6 or UNKNOWN")
    kind = _FAMILIES_V1[words[1]]
    try:
        source, _ = kind(words[2]), kind(words[3])
    except ValueError:
        raise _wrong("an address is none") from None
    ports = [int(word) if word.isdigit() and len(word) <= 5 else 65536 for word in words[4:]]
    if max(ports) > 65535:
        raise _wrong("a port is none")
    return ProxyHeader(str(source), ports[0])


def _version_2(header: bytes) -> ProxyHeader:
    version_command, family_protocol = header[12], header[13]
    if version_command not in (0x20, 0x21):
        raise _wrong("its version or command is unknown")
    family, body = family_protocol >> 4, header[_HEAD_V2:]
    source: tuple[str | None, int] = None, 0
    length = _UNIX_BYTES if family == _UNIX else 0
    if family in _ADDRESSES:
        layout, kind = _ADDRESSES[family]
        length = struct.calcsize(layout)
        if len(body) >= length:
            address, _, port, _ = struct.unpack_from(layout, body)
            source = str(kind(address)), port
    if len(body) < length or family > _UNIX or family_protocol & 0xF > 2:
        raise _wrong("its addresses are not whole, or of an unknown family")
    extras = _extras(header, _HEAD_V2 + length)
    if version_command == 0x20:  # LOCAL: the proxy speaks for itself
        return ProxyHeader()
    return ProxyHeader(*source, authority=extras)


def _extras(header: bytes, at: int) -> str | None:
    """The authority among the fields behind the addresses; a checksum is checked."""
    authority: str | None = None
    while at < len(header):
        if at + 3 > len(header):
            raise _wrong("a field is not whole")
        kind, length = struct.unpack_from("!BH", header, at)
        value = header[at + 3 : at + 3 + length]
        if len(value) != length:
            raise _wrong("a field is not whole")
        if kind == _AUTHORITY:
            authority = value.decode("utf-8", "replace")
        elif kind == _CRC32C:
            blank = header[: at + 3] + b"\0\0\0\0" + header[at + 7 :]
            if length != 4 or struct.pack("!I", crc32c(blank)) != value:
                raise _wrong("its checksum does not fit")
        at += 3 + length
    return authority


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720 (Castagnoli)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _entry(number: int) -> int:
    for _ in range(8):
        number = (number >> 1) ^ (0x82F63B78 if number & 1 else 0)
    return number


_TABLE = tuple(_entry(number) for number in range(256))
