"""What mutated conversations have found, said plainly."""

from __future__ import annotations

import pytest

from pgbeam_core.testing import FakePostgres, Rehearsal, table

ROW = table(["a"], [["1"]])


@pytest.mark.parametrize(
    "said",
    [
        ROW + b"Z\0\0\0\x05H",
        ROW + b"Z\0\0\0\x06II",
        b"E\0\0\0\x08CXXX" + b"?\0\0\0\x04",
        b"E\0\0\0\x04" + b"?\0\0\0\x04",
        b"E\0\0\0\x09SFATA" + b"Z\0\0\0\x05?",
    ],
)
def test_a_server_that_talks_nonsense_is_lost_and_nothing_worse(said: bytes) -> None:
    """A state that there is not, an error without an end: its client gets an error, the next query another server."""
    fake = FakePostgres({"SELECT bad": said, "SELECT good": ROW})
    with Rehearsal({}, servers={"primary:5432": fake}) as rehearsal:
        client, other = rehearsal.login(), rehearsal.login()
        reply = client.query("SELECT bad")
        assert client.closed or reply.error is not None
        assert other.query("SELECT good").rows == (("1",),)
        if not client.closed:
            assert client.query("SELECT good").rows == (("1",),)
