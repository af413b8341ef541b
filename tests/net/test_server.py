"""A server in service."""

from __future__ import annotations

from tests.net.floods import MB, server_in_service


def test_a_long_frame_that_nobody_needs_is_refused_at_its_header() -> None:
    """A ReadyForQuery of a megabyte is none; an error of 100 MB is not held either."""
    for tag, length in ((b"Z", MB + 1), (b"C", MB + 1), (b"E", 100 * MB), (b"T", 100 * MB)):
        server = server_in_service()
        server.dataReceived(tag + length.to_bytes(4))
        assert not server.alive, tag
