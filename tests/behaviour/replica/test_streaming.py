"""Replicas that PostgreSQL itself keeps up to date by streaming replication."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster, installation, start_cluster

pytestmark = [pytest.mark.slow, pytest.mark.pg]

WHERE = "SELECT port FROM where_am_i"
ASKED = f"/* @pgbeam:replica */ {WHERE}"
QUICK = {"probe_interval_s": 0.2, "health_user": "boss"}
SECONDS = 15.0


@pytest.fixture(scope="module")
def primary() -> Iterator[Cluster]:
    """A primary with two streaming replicas, and a view that tells which server reads it."""
    found = installation(18) or installation(15)
    if found is None:
        pytest.skip("no PostgreSQL is installed here")
    cluster = start_cluster(found)
    try:
        with cluster.connect() as boss:
            boss.execute("CREATE VIEW where_am_i AS SELECT inet_server_port() AS port")
            boss.execute("CREATE TABLE notes (id serial PRIMARY KEY, note text)")
            boss.execute("GRANT ALL ON where_am_i, notes, notes_id_seq TO app")
        for _ in range(2):
            cluster.wait_for_replay(cluster.replica())
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def beam(primary, tmp_path: Path) -> Iterator[Callable[..., Beam]]:
    """beam(max_lag_s=1, auto=True) starts PgBeam before them, with those settings of the plugin."""
    running: list[Beam] = []

    def start(*, auto: bool = False, **settings) -> Beam:
        urls = [f"postgresql://127.0.0.1:{replica.port}" for replica in primary.replicas]
        running.append(
            Beam(
                primary,
                "transaction",
                tmp_path,
                plugins="replica,pool,debug",
                settings={"plugins": {"replica": {**QUICK, **settings}}},
                project={"replicas": urls, "auto_read_routing": auto},
            )
        )
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def paused(primary) -> Iterator[Callable[[], None]]:
    """paused() lets the replicas receive, but not replay, until the test is over."""

    def each(function: str) -> None:
        for replica in primary.replicas:
            with replica.connect() as boss:
                boss.execute(f"SELECT {function}()")

    yield lambda: each("pg_wal_replay_pause")
    each("pg_wal_replay_resume")
    for replica in primary.replicas:
        primary.wait_for_replay(replica)


def connect(beam: Beam) -> psycopg.Connection:
    return psycopg.connect(beam.url(), autocommit=True)


def port(client: psycopg.Connection, sql: str = WHERE) -> int:
    (found,) = client.execute(sql).fetchone()
    return found


def ports(client: psycopg.Connection, sql: str, times: int = 6) -> set[int]:
    return {port(client, sql) for _ in range(times)}


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.05)


def replica_ports(primary: Cluster) -> set[int]:
    return {replica.port for replica in primary.replicas}


def test_annotated_reads_are_spread_over_both_replicas(primary, beam):
    """Annotated reads reach the replicas, also in a transaction that has only read; everything else the primary."""
    started = beam()
    with connect(started) as client:
        until(lambda: ports(client, ASKED, 2) == replica_ports(primary), "both replicas in use")
        assert ports(client, ASKED) == replica_ports(primary)
        assert ports(client, WHERE) == {primary.port}
        with client.transaction():
            assert ports(client, ASKED) == replica_ports(primary)
            client.execute("/* @pgbeam:replica */ INSERT INTO notes (note) VALUES ('here')")
            assert ports(client, ASKED) == {primary.port}
        assert ports(client, ASKED) == replica_ports(primary)


def test_a_replica_that_crashes_is_left_out_and_comes_back(primary, beam):
    """With one replica gone no read fails once the probes know; when it is back, it answers again."""
    started = beam()
    first, second = primary.replicas
    with connect(started) as client:
        until(lambda: ports(client, ASKED, 2) == replica_ports(primary), "both replicas in use")
        first.crash()
        try:
            until(lambda: "is out" in started.log, "the crash is noticed")
            assert ports(client, ASKED) == {second.port}
        finally:
            first.revive()
        until(lambda: ports(client, ASKED, 2) == replica_ports(primary), "both replicas in use again")


def test_auto_routed_reads_see_the_sessions_own_writes(primary, beam, paused):
    """Each session reads back what it wrote though the replicas have stopped replaying; others may read there."""
    started = beam(auto=True)
    with connect(started) as client, connect(started) as other:
        until(lambda: port(client) in replica_ports(primary), "reads go to replicas")
        paused()
        for number in range(20):
            row = client.execute("INSERT INTO notes (note) VALUES (%s) RETURNING id", [f"note {number}"]).fetchone()
            assert client.execute("SELECT note FROM notes WHERE id = %s", row).fetchone() == (f"note {number}",)
            time.sleep(0.05)
        with client.transaction():
            client.execute("UPDATE notes SET note = 'changed' WHERE id = %s", row)
        for _ in range(10):
            assert client.execute("SELECT note FROM notes WHERE id = %s", row).fetchone() == ("changed",)
            time.sleep(0.05)
        assert ports(other, WHERE) == replica_ports(primary)


def test_reads_return_to_the_replicas_when_these_have_caught_up(primary, beam):
    """A write costs its session the replicas for about two probes, not for good."""
    started = beam(auto=True)
    with connect(started) as client:
        until(lambda: port(client) in replica_ports(primary), "reads go to replicas")
        client.execute("INSERT INTO notes (note) VALUES ('soon')")
        assert port(client) == primary.port
        until(lambda: port(client) in replica_ports(primary), "reads are back at the replicas")
        assert client.execute("SELECT count(*) > 0 FROM notes WHERE note = 'soon'").fetchone() == (True,)


def test_replicas_that_stop_replaying_are_left_out(primary, beam, paused):
    """With `max_lag_s` reads go to the primary while the replicas are behind, and an idle primary is no lag."""
    started = beam(max_lag_s=0.5)
    with connect(started) as client:
        until(lambda: ports(client, ASKED, 2) == replica_ports(primary), "both replicas in use")
        time.sleep(1.5)
        assert ports(client, ASKED) == replica_ports(primary)
        paused()
        client.execute("INSERT INTO notes (note) VALUES ('late')")
        until(lambda: ports(client, ASKED) == {primary.port}, "the lag is noticed")


def test_a_conflict_with_recovery_is_not_the_clients(primary, beam):
    """What a replica cancels, because the primary has cleaned up rows that it still sees, the primary answers."""
    with primary.connect() as boss:
        boss.execute("CREATE TABLE crowded AS SELECT i FROM generate_series(1, 1000) i; GRANT ALL ON crowded TO app")
    for replica in primary.replicas:
        with replica.connect() as boss:
            boss.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
            boss.execute("SELECT pg_reload_conf()")
        primary.wait_for_replay(replica)
    running = beam()
    try:
        with connect(running) as client, primary.connect() as boss:
            until(lambda: ports(client, ASKED) == replica_ports(primary), "both replicas are used")
            said: list[str] = []
            client.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
            client.execute("SET pgbeam.debug = on")
            sql = "/* @pgbeam:replica */ SELECT count(*), (SELECT pg_sleep(2) IS NULL) FROM crowded"
            with ThreadPoolExecutor(1) as aside:
                asked = aside.submit(lambda: client.execute(sql).fetchone())
                time.sleep(0.5)
                boss.execute("DELETE FROM crowded WHERE i > 500")
                boss.execute("VACUUM crowded")
                assert asked.result()[0] == 500
            assert any("retried=40001" in one or "retried=57014" in one for one in said), said
    finally:
        for replica in primary.replicas:
            with replica.connect() as boss:
                boss.execute("ALTER SYSTEM RESET max_standby_streaming_delay")
                boss.execute("SELECT pg_reload_conf()")
