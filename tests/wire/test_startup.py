"""The packets before the first message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.backend import NegotiateProtocolVersion, error_fields
from pgbeam_core.wire.startup import (
    CancelRequest,
    GSSENCRequest,
    Packet,
    SSLRequest,
    StartupMessage,
    StartupReader,
    negotiate,
)
from tests.wire.samples import PACKETS, chunked, read, recorded

words = st.binary(min_size=1, max_size=20).filter(lambda word: 0 not in word)


def packet(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4, "big") + body


@pytest.mark.parametrize("sample", PACKETS, ids=repr)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_a_packet_is_read_however_it_is_cut_and_what_follows_stays(sample: Packet, size: int) -> None:
    """Clients may send their first message in any pieces, and more behind it."""
    reader = StartupReader()
    pieces = chunked(sample.to_bytes() + b"more", size)
    assert next(filter(None, map(reader.feed, pieces))) == sample
    assert reader.rest() + b"".join(pieces) == b"more"
    assert reader.rest() == b""


def test_encryption_is_asked_for_once_of_each_kind() -> None:
    """A second SSLRequest is a version that nobody speaks, as in PostgreSQL 18."""
    reader = StartupReader()
    assert reader.feed(SSLRequest().to_bytes()) == SSLRequest()
    assert reader.feed(GSSENCRequest().to_bytes()) == GSSENCRequest()
    with pytest.raises(ProtocolViolation, match=r"unsupported frontend protocol 1234\.5679"):
        reader.feed(SSLRequest().to_bytes())


def test_a_reader_reads_one_packet_after_another() -> None:
    """A refused SSLRequest is followed by the startup message on the same connection."""
    start = StartupMessage(3, 0, {"user": "ann"})
    reader = StartupReader()
    assert reader.feed(SSLRequest().to_bytes() + start.to_bytes()) == SSLRequest()
    assert reader.feed(b"") == start


@given(st.dictionaries(words, words), words)
def test_parameters_that_are_not_utf8_survive_byte_by_byte(parameters: dict[bytes, bytes], user: bytes) -> None:
    """A role named in Latin-1 reaches the server as it was typed, in the order it came."""
    given_ = {b"user": user} | parameters
    data = packet(b"\x00\x03\x00\x00" + b"".join(k + b"\0" + v + b"\0" for k, v in given_.items()) + b"\0")
    assert StartupMessage.from_bytes(data).to_bytes() == data


def test_of_a_doubled_parameter_the_last_counts() -> None:
    """As in PostgreSQL."""
    data = packet(b"\x00\x03\x00\x00user\0ann\0user\0bob\0\0")
    assert StartupMessage.from_bytes(data).parameters == {"user": "bob"}


@pytest.mark.parametrize("length", [0, 7, 10_005, 2**31, 2**32 - 1])
def test_an_impossible_length_is_refused_at_once(length: int) -> None:
    """Nobody makes PgBeam wait for gigabytes before login."""
    with pytest.raises(ProtocolViolation, match="invalid length of startup packet"):
        StartupReader().feed(length.to_bytes(4, "big"))


def test_the_largest_packet_that_postgresql_takes_is_taken() -> None:
    """10,000 bytes behind the length word."""
    value = "x" * (10_000 - len(b"\x00\x03\x00\x00user\0\0\0"))
    start = StartupMessage(3, 0, {"user": value})
    assert len(start.to_bytes()) == 10_004
    assert StartupReader().feed(start.to_bytes()) == start


LAYOUT = "invalid startup packet layout: expected terminator as last byte"
NO_USER = "no PostgreSQL user name specified in startup packet"


@pytest.mark.parametrize(
    ("body", "sqlstate", "message"),
    [
        (b"\x00\x03\x00\x00", "08P01", LAYOUT),
        (b"\x00\x03\x00\x00user", "08P01", LAYOUT),
        (b"\x00\x03\x00\x00user\0ann\0", "08P01", LAYOUT),
        (b"\x00\x03\x00\x00user\0ann\0\0\0", "08P01", LAYOUT),
        (b"\x00\x03\x00\x00user\0ann\0\0more\0\0", "08P01", LAYOUT),
        (b"\x00\x03\x00\x00user\0\0", "08P01", LAYOUT),
        (b"\x00\x03\x00\x00\0", "28000", NO_USER),
        (b"\x00\x03\x00\x00user\0\0\0", "28000", NO_USER),
        (b"\x00\x03\x00\x00database\0x\0\0", "28000", NO_USER),
        (b"\x00\x02\x00\x00\0", "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"),
        (b"\x00\x04\x00\x01\0", "0A000", "unsupported frontend protocol 4.1: server supports 3.0 to 3.2"),
        (b"\x04\xd2\x16\x31", "0A000", "unsupported frontend protocol 1234.5681: server supports 3.0 to 3.2"),
        (b"\x04\xd2\x16\x2e", "08P01", "invalid length of cancel request packet"),
        (b"\x04\xd2\x16\x2e1234", "08P01", "invalid length of cancel key in cancel request packet"),
        (b"\x04\xd2\x16\x2e1234" + bytes(257), "08P01", "invalid length of cancel key in cancel request packet"),
    ],
)
def test_a_wrong_packet_is_refused_in_the_words_of_postgresql(body: bytes, sqlstate: str, message: str) -> None:
    """Clients match on SQLSTATE and text."""
    with pytest.raises(ProtocolViolation) as caught:
        StartupReader().feed(packet(body))
    assert (caught.value.sqlstate, caught.value.message) == (sqlstate, message)


@pytest.mark.parametrize("name", ["pg15-no-user", "pg18-no-user", "pg15-bad-layout", "pg18-bad-layout"])
def test_a_recorded_refusal_is_ours_too(name: str) -> None:
    """The server's own SQLSTATE and text, for the packet that it refused."""
    fields = error_fields(read(f"{name}.server"))
    with pytest.raises(ProtocolViolation) as caught:
        StartupReader().feed(read(f"{name}.client"))
    assert (caught.value.sqlstate, caught.value.message) == (fields["C"], fields["M"])


def test_the_recorded_refusal_of_protocol_2_is_ours_too() -> None:
    """PostgreSQL answers it in the form of that protocol; the text is the same."""
    with pytest.raises(ProtocolViolation) as caught:
        StartupReader().feed(read("pg18-version-2.client"))
    assert read("pg18-version-2.server") == f"EFATAL:  {caught.value.message}\n\0".encode()


@pytest.mark.parametrize("kind", [SSLRequest, GSSENCRequest, CancelRequest])
def test_a_packet_of_another_kind_is_not_taken_for_one(kind: type[SSLRequest]) -> None:
    """Each kind reads its own code only."""
    with pytest.raises(ProtocolViolation):
        kind.from_bytes(StartupMessage(3, 0, {"user": "x"}).to_bytes())


@pytest.mark.parametrize("size", [3, 257])
def test_a_cancel_key_of_impossible_length_is_not_written(size: int) -> None:
    """A mistake of ours shows here, not at the server."""
    with pytest.raises(ValueError, match="4 to 256"):
        CancelRequest(1, bytes(size)).to_bytes()


def test_a_parameter_without_a_name_is_not_written() -> None:
    """It would end the list before its time."""
    with pytest.raises(ValueError, match="name"):
        StartupMessage(3, 0, {"user": "x", "": "y"}).to_bytes()


@pytest.mark.parametrize("name", recorded("pg18-handmade*.client"))
def test_newer_protocols_and_unknown_options_are_negotiated_as_postgresql_18_does(name: str) -> None:
    """3.1 never existed but passes, 3.9 becomes 3.2, and options are named back."""
    start = StartupReader().feed(read(name))
    assert isinstance(start, StartupMessage)
    answer = negotiate(start)
    server = read(name.replace(".client", ".server"))
    assert server.startswith(answer or b"R")
    assert (answer is not None) == server.startswith(b"v")


def test_a_newer_protocol_without_options_is_negotiated_too() -> None:
    """The version that will be spoken, and no names."""
    answer = negotiate(StartupMessage(3, 9999, {"user": "x"}))
    assert answer == NegotiateProtocolVersion(3 << 16 | 2).to_bytes()


def test_a_cancel_key_is_not_in_the_repr() -> None:
    """Whoever reads it in a log could cancel."""
    assert "open sesame" not in repr(CancelRequest(1, b"open sesame"))
