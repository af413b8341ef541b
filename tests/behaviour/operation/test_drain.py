"""PgBeam is told to stop while clients are in the middle of something: each ends well, or is told why it does not."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster, free_port
from tests.behaviour.failures.test_faults import code, value
from tests.behaviour.wireclient import Closed, WireClient
from tests.behaviour.workers.several import until
from tests.net.certificates import Files

pytestmark = [pytest.mark.pg, pytest.mark.newest]

GRACE = 8.0
_ENDS = 20.0
"""More than the grace: a machine may be busy."""
Start = Callable[..., Beam]


@pytest.fixture(params=[1, pytest.param(3, marks=pytest.mark.slow)])
def mortal(request: pytest.FixtureRequest, cluster: Cluster, fresh_shop: None, tmp_path: Path) -> Iterator[Start]:
    """mortal(settings={…}) starts a PgBeam that the test ends."""
    started: list[Beam] = []

    def start(*, settings: dict[str, Any] | None = None, **more: Any) -> Beam:
        given = {"workers": request.param, "shutdown_grace": GRACE, **(settings or {})}
        started.append(Beam(cluster, "transaction", tmp_path, settings=given, **more))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def told(client: WireClient) -> str:
    """The SQLSTATE that a client is sent away with; nothing but the end of the connection follows."""
    found = code([client.frame()])
    with pytest.raises(Closed):
        client.frame()
    return found


def categories(beam: Beam) -> set[int]:
    """What was committed."""
    with beam.cluster.connect() as boss:
        return {number for (number,) in boss.execute("SELECT id FROM categories WHERE id > 100").fetchall()}


def test_a_copy_and_cursors_are_let_finish(mortal: Start) -> None:
    """A COPY that has begun goes on to its end, in a transaction and by itself; cursors and portals are read to theirs,
    and what was done is committed."""
    mine = mortal()
    with (
        psycopg.connect(mine.url()) as copying,
        psycopg.connect(mine.url(), autocommit=True) as alone,
        psycopg.connect(mine.url()) as reading,
        psycopg.connect(mine.url()) as lazy,
        mine.wire() as portal,
    ):
        cursor = reading.cursor("c")
        cursor.itersize = 10
        cursor.execute("SELECT * FROM generate_series(1, 100)")
        assert cursor.fetchone() == (1,)
        lazy.execute("SELECT 1").fetchone()
        portal.ask(frames.query("BEGIN"))
        begun = frames.parse("SELECT * FROM generate_series(1, 10)") + frames.bind() + frames.execute(max_rows=4)
        portal.send(begun + frames.flush())
        assert portal.until(b"s")[-1].tag == b"s"
        with (
            copying.cursor().copy("COPY categories FROM STDIN") as first,
            alone.cursor().copy("COPY categories FROM STDIN") as second,
        ):
            first.write_row((101, "begun"))
            second.write_row((102, "begun"))
            mine.process.send_signal(signal.SIGTERM)
            until(lambda: "draining" in mine.log)
            time.sleep(0.3)
            first.write_row((103, "ended"))
            second.write_row((104, "ended"))
        copying.commit()
        assert len(cursor.fetchall()) == 99
        reading.commit()
        rest = portal.ask(frames.execute() + frames.sync())
        assert sum(each.tag == b"D" for each in rest) == 6
        portal.ask(frames.query("COMMIT"))
        lazy.execute("SELECT 2").fetchone()
        lazy.commit()
        assert mine.process.wait(_ENDS) == 0
    assert categories(mine) == {101, 102, 103, 104}
    assert not mine.complaints()


def test_who_waits_for_a_server_gets_it_and_is_then_sent_away(mortal: Start) -> None:
    """With one server: the transaction that has it ends, the query that waits for it is answered, and both are told
    57P01 afterwards; a prepared statement is no reason to stay."""
    mine = mortal(settings={"plugins": {"pool": {"max_active": 1}}, "workers": 1})
    with mine.wire() as has, mine.wire() as waits, mine.wire() as prepared:
        prepared.ask(frames.parse("SELECT 5", "five") + frames.sync())
        has.ask(frames.query("BEGIN; INSERT INTO categories VALUES (105, 'has')"))
        waits.send(frames.query("INSERT INTO categories VALUES (106, 'waits') RETURNING id"))
        time.sleep(0.3)
        mine.process.send_signal(signal.SIGTERM)
        assert told(prepared) == "57P01"
        has.ask(frames.query("COMMIT"))
        assert value(waits.until(b"Z")) == b"106"
        assert (told(has), told(waits)) == ("57P01", "57P01")
    assert mine.process.wait(_ENDS) == 0
    assert categories(mine) == {105, 106}


def test_who_logs_in_is_sent_away(mortal: Start) -> None:
    """A connection that has said nothing yet, and one whose password is waited for, do not keep a PgBeam that stops."""
    mine = mortal()
    with socket.create_connection(("127.0.0.1", mine.port)) as silent, WireClient(mine.port) as asked:
        asked.send(frames.startup({"user": "with_password", "database": "shop"}))
        assert asked.frame().tag == b"R"
        began = time.monotonic()
        mine.process.send_signal(signal.SIGTERM)
        assert told(asked) == "57P01"
        silent.settimeout(_ENDS)
        while silent.recv(1000):
            pass
        assert mine.process.wait(_ENDS) == 0
        assert time.monotonic() - began < GRACE


@pytest.mark.slow
def test_a_transaction_that_does_not_end_is_ended_by_the_grace_and_by_a_second_signal(mortal: Start) -> None:
    """It is told 57P01, and what it did is rolled back: after `shutdown_grace`, or at once on a second signal."""
    for signals in (1, 2):
        mine = mortal(settings={"shutdown_grace": 1.0 if signals == 1 else 600.0})
        with mine.wire() as client:
            client.ask(frames.query("BEGIN; INSERT INTO categories VALUES (107, 'never')"))
            for number in (signal.SIGTERM, signal.SIGINT)[:signals]:
                mine.process.send_signal(number)
                until(lambda beam=mine: "draining" in beam.log)
            assert told(client) == "57P01"
            assert mine.process.wait(_ENDS) == 0
    assert categories(mine) == set()


def test_who_waits_for_a_promotion_does_not_keep_it_longer_than_the_grace(mortal: Start) -> None:
    """A query that is held while no primary is there is answered in the grace, or told why not; the exit code is 0."""
    gone = f"postgresql://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/shop?sslmode=disable"
    held = {"upstream": gone, "failover_hold_s": 300, "auth": "trust"}
    mine = mortal(settings={"shutdown_grace": 1.5}, more_projects={"gone": held})
    failed: list[BaseException] = []

    def connect() -> None:
        try:
            psycopg.connect(mine.url(options="project=gone"), connect_timeout=30).close()
        except psycopg.Error as error:
            failed.append(error)

    client = threading.Thread(target=connect)
    client.start()
    time.sleep(1)
    mine.process.send_signal(signal.SIGTERM)
    assert mine.process.wait(_ENDS) == 0
    client.join()
    assert len(failed) == 1
    assert not mine.complaints()


def test_clients_over_tls_are_told_as_well(mortal: Start, tmp_path: Path) -> None:
    """An idle one 57P01, one in a transaction is let finish; psql, which is idle, says so."""
    files = Files(tmp_path)
    mine = mortal(settings={"tls": files.settings()})
    url = mine.url(sslmode="require")
    with psycopg.connect(url) as busy, psycopg.connect(url, autocommit=True) as idle:
        busy.execute("INSERT INTO categories VALUES (108, 'tls')")
        idle.execute("SELECT 1")
        psql = subprocess.Popen(
            ["psql", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert psql.stdin is not None
        assert psql.stdout is not None
        psql.stdin.write("SELECT 'here';\n")
        psql.stdin.flush()
        while "here" not in psql.stdout.readline():
            pass
        mine.process.send_signal(signal.SIGTERM)
        until(lambda: "draining" in mine.log)
        time.sleep(0.3)
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
        busy.commit()
        _, said = psql.communicate("SELECT 2;\n", timeout=_ENDS)
        assert "terminating connection due to administrator command" in said
        assert mine.process.wait(_ENDS) == 0
    assert categories(mine) == {108}
