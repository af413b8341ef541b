"""Long streams, of clients and of servers, are attended to in slices: others have their turn in between."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.attacks.conftest import Fort
from tests.attacks.siege import besiege
from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.wireclient import WireClient

pytestmark = pytest.mark.pg

Attack = Callable[[WireClient], None]


def pour(client: WireClient, request: bytes, readies: int = 1) -> int:
    """Send all of it while the replies are read, up to so many ReadyForQuery; the number of bytes that came."""
    client.timeout = 60
    client.socket.settimeout(60)
    sending = threading.Thread(target=client.socket.sendall, args=(request,))
    sending.start()
    got, tail, seen = 0, b"", 0
    while seen < readies:
        data = client.socket.recv(1 << 18)
        assert data, "closed in the middle"
        got += len(data)
        seen += (tail + data).count(b"Z\0\0\0\5") - tail.count(b"Z\0\0\0\5")
        tail = data[-5:] if len(data) >= 5 else (tail + data)[-5:]
    sending.join()
    return got


def a_batch(client: WireClient) -> None:
    """50,000 executions with one Sync."""
    client.ask(frames.query("CREATE TEMP TABLE batch (a text)"))
    one = frames.bind(b"x", statement="s") + frames.execute()
    pour(client, frames.parse("INSERT INTO batch VALUES ($1)", "s") + one * 50_000 + frames.sync())
    rows = client.ask(frames.query("SELECT count(*) FROM batch"))
    assert any(b"50000" in frame.body for frame in rows)


def a_batch_that_fails_at_once(client: WireClient) -> None:
    """An error, and 100,000 executions that nobody wants any more."""
    one = frames.bind(statement="s") + frames.execute()
    pour(client, frames.parse("SELECT 1/0", "s") + one * 100_000 + frames.sync())


def statements_of_pgbeams_own(client: WireClient) -> None:
    """Each is answered at once, and the next is there already."""
    pour(client, frames.query("SET pgbeam.debug = on") * 20_000, 20_000)


def flushes(client: WireClient) -> None:
    """Messages without a reply."""
    pour(client, frames.flush() * 100_000 + frames.sync())


def closes(client: WireClient) -> None:
    """Messages that PgBeam answers itself."""
    pour(client, (frames.parse("SELECT 1", "s") + frames.close("s")) * 20_000 + frames.sync())


def copied_by_the_byte(client: WireClient) -> None:
    """COPY data in frames of two bytes."""
    client.ask(frames.query("CREATE TEMP TABLE copied (a text)"))
    client.send(frames.query("COPY copied FROM STDIN"))
    client.until(b"G")
    pour(client, frames.copy_data(b"1\n") * 100_000 + frames.copy_done())


def notices(client: WireClient) -> None:
    """A server that has much to say beside its reply."""
    body = "BEGIN FOR i IN 1..50000 LOOP RAISE NOTICE 'x'; END LOOP; END"
    pour(client, frames.query(f"DO $$ {body} $$"))


def empty_rows(client: WireClient) -> None:
    """Half a million rows of nothing."""
    pour(client, frames.query("SELECT FROM generate_series(1, 500000)"))


def parameters(client: WireClient) -> None:
    """More settings than can follow a session, and queries among them."""
    sets = b"".join(frames.query(f"SET app.v{number} = 'x'") for number in range(2000))
    pour(client, sets + frames.query("SELECT 1") * 2000, 4000)


def savepoints(client: WireClient) -> None:
    """A transaction with thousands of savepoints, all released at once."""
    inside = b"".join(frames.query(f"SAVEPOINT s{number}") for number in range(3000))
    pour(client, frames.query("BEGIN") + inside + frames.query("RELEASE s0") + frames.query("COMMIT"), 3003)


ATTACKS: list[Attack] = [
    a_batch,
    a_batch_that_fails_at_once,
    statements_of_pgbeams_own,
    flushes,
    closes,
    copied_by_the_byte,
    notices,
    empty_rows,
    parameters,
    savepoints,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_long_stream_holds_nobody_up(fort: Fort, attack: Attack) -> None:
    """However much comes at once, from a client or for it, others are served in between, and nothing stays."""

    def once(beam: Beam) -> None:
        with beam.wire() as client:
            attack(client)

    report = besiege(fort(), once)
    assert not report.refused, report
    report.check()
