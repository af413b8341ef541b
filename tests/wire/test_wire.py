"""Recorded conversations, decoded whole, byte by byte, and with more bytes behind them."""

from __future__ import annotations

import pytest

from pgbeam_core.wire import frontend
from pgbeam_core.wire.frames import FrameCutter, split
from pgbeam_core.wire.startup import StartupMessage, StartupReader
from pgbeam_core.wire.tags import Backend, Frontend
from tests.wire.samples import FRONTEND_BY_TAG, chunked, decode_backend, read, recorded

REFUSED = ("no-user", "version-2", "bad-layout")
SERVERS = [name for name in recorded("*.server") if "version-2" not in name]
CLIENTS = [name for name in recorded("*.client") if not name.removesuffix(".client").endswith(REFUSED)]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("size", [1, 7, 65536])
def test_what_a_real_server_said_is_understood_to_the_byte(name: str, size: int) -> None:
    """Decoding and encoding again gives the recorded bytes, however they arrive, and leaves what follows."""
    data = read(name)
    cutter = FrameCutter()
    frames = [one for piece in chunked(data + b"Zmo", size) for one in cutter.feed(piece)]
    assert cutter.rest() == b"Zmo"
    assert b"".join(decode_backend(one).to_bytes() for one in frames) == data
    assert [data[start:end] for _, start, end in split(data)] == frames


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("size", [1, 7, 65536])
def test_what_a_real_client_said_is_understood_to_the_byte(name: str, size: int) -> None:
    """The startup packet first, then messages; decoding and encoding again gives the recorded bytes."""
    data = read(name)
    reader, cutter = StartupReader(), FrameCutter()
    start, frames = None, []
    for piece in chunked(data, size):
        if start is None:
            start = reader.feed(piece)
            piece = reader.rest() if start else b""
        frames += cutter.feed(piece)
    assert isinstance(start, StartupMessage)
    assert cutter.pending == 0
    assert start.to_bytes() + b"".join(again(one) for one in frames) == data


def again(frame: bytes) -> bytes:
    """Decoded and encoded. What an answer to an authentication request is depends on the request."""
    if frame[0] == Frontend.PASSWORD:
        if frame[5:].startswith(b"SCRAM"):
            return frontend.SASLInitialResponse.from_bytes(frame).to_bytes()
        return frontend.SASLResponse.from_bytes(frame).to_bytes()
    return FRONTEND_BY_TAG[frame[0]].from_bytes(frame).to_bytes()


def test_the_recordings_hold_every_message_that_they_can() -> None:
    """What is decoded against real bytes is all but what needs GSSAPI or SSPI."""
    seen = {tag for name in SERVERS for tag, _, _ in split(read(name))}
    assert {value for name, value in vars(Backend).items() if name.isupper()} == seen
    sent = set()
    for name in CLIENTS:
        reader = StartupReader()
        reader.feed(read(name))
        sent |= {tag for tag, _, _ in split(reader.rest())}
    assert {value for name, value in vars(Frontend).items() if name.isupper()} == sent


def test_a_cancel_key_of_protocol_3_2_is_longer() -> None:
    """Four bytes before, 32 now."""
    sizes = {}
    for name in ("pg18-handmade", "pg18-handmade-31", "pg18-handmade-32", "pg18-handmade-39"):
        data = read(f"{name}.server")
        sizes[name] = [end - start - 9 for tag, start, end in split(data) if tag == Backend.BACKEND_KEY_DATA]
    assert list(sizes.values()) == [[4], [4], [32], [32]]
