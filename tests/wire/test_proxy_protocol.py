"""PROXY protocol: what a load balancer says of the client."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import Unanswered
from pgbeam_core.wire.proxy_protocol import MAX_V2, SIGNATURE, ProxyHeader, ProxyReader, crc32c

IPV4 = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + struct.pack("!HH", 40000, 6432)
IPV6 = bytes.fromhex("20010db8000000000000000000000007") + bytes(16) + struct.pack("!HH", 40001, 6432)


def v2(body: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def field(kind: int, value: bytes) -> bytes:
    """What may stand behind the addresses."""
    return struct.pack("!BH", kind, len(value)) + value


def with_checksum(body: bytes) -> bytes:
    """The header with a checksum, as load balancers of AWS send it."""
    blank = v2(body + field(0x03, bytes(4)))
    return v2(body + field(0x03, struct.pack("!I", crc32c(blank))))


WELL_FORMED = [
    (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 6432\r\n", ProxyHeader("192.0.2.7", 40000)),
    (b"PROXY TCP6 2001:db8::7 ::1 40001 6432\r\n", ProxyHeader("2001:db8::7", 40001)),
    (b"PROXY UNKNOWN\r\n", ProxyHeader()),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ProxyHeader()),
    (v2(IPV4), ProxyHeader("192.0.2.7", 40000)),
    (v2(IPV6, family=0x21), ProxyHeader("2001:db8::7", 40001)),
    (v2(IPV4, command=0x20), ProxyHeader()),
    (v2(b"", family=0x00), ProxyHeader()),
    (v2(bytes(216), family=0x31), ProxyHeader()),
    (
        v2(IPV4 + field(0x02, b"shop.example.com") + field(0xE0, b"x")),
        ProxyHeader("192.0.2.7", 40000, "shop.example.com"),
    ),
    (with_checksum(IPV4), ProxyHeader("192.0.2.7", 40000)),
]
MALFORMED = [
    b"\0\0\0\x08\x04\xd2\x16\x2f",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 65536\r\n",
    b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 6432\r\n",
    b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
    b"PROXY TCP4 192.0.2.777 10.0.0.1 1 2\r\n",
    b"PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
    b"PROXY TCP4 \xb9.0.2.7 10.0.0.1 1 2\r\n",
    b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n",
    b"PROXY " + b"x" * 200,
    b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
    v2(IPV4, command=0x11),
    v2(IPV4, command=0x22),
    v2(IPV4[:-1]),
    v2(IPV4, family=0x21),
    v2(IPV4, family=0x41),
    v2(IPV4, family=0x13),
    v2(b"", length=MAX_V2 + 1),
    v2(IPV4 + b"\x02\x00"),
    v2(IPV4 + b"\x02\x00\x09short"),
    v2(IPV4 + field(0x03, b"\0\0\0\0")),
    v2(IPV4 + field(0x03, b"\0")),
]


@pytest.mark.parametrize(("data", "header"), WELL_FORMED)
def test_a_header_is_read_wherever_it_is_cut(data: bytes, header: ProxyHeader) -> None:
    """The client's address is the one that the load balancer tells, and its own bytes are not lost."""
    for cut in range(len(data)):
        reader = ProxyReader()
        assert reader.feed(data[:cut]) is None
        assert reader.feed(data[cut:] + b"\0\0\0\x08rest") == header
        assert reader.rest() == b"\0\0\0\x08rest"


@pytest.mark.parametrize("data", MALFORMED)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    """Half an address is none: nobody gets in as somebody else."""
    with pytest.raises(Unanswered, match="invalid PROXY protocol header"):
        ProxyReader().feed(data)


def test_the_checksum_is_the_one_of_the_standard() -> None:
    """The check value of CRC-32C."""
    assert crc32c(b"123456789") == 0xE3069283


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x20"])
)
def test_any_bytes_are_read_or_refused(data: bytes, start: bytes) -> None:
    """A load balancer gone mad costs its own connection, and no memory."""
    reader = ProxyReader()
    try:
        for place in range(0, len(start + data), 7):
            if reader.feed((start + data)[place : place + 7]) is not None:
                break
    except Unanswered:
        return
    assert len(reader.rest()) <= 16 + MAX_V2
