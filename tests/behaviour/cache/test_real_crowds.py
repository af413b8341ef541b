"""Crowds in front of one slow query, counted by the server itself; and who waits for a refresh."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import Frame

pytestmark = [pytest.mark.pg, pytest.mark.usefixtures("fresh_shop")]
PLUGINS = "cache,pool,debug"
CROWD = 500


def scans(cluster: Cluster, table: str) -> int:
    """How often a table was read so far, as the server has counted."""
    with cluster.connect() as boss:
        row = boss.execute("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = %s", [table]).fetchone()
    assert row is not None
    return int(row[0])


def rows(said: list[Frame]) -> list[bytes]:
    """The first values of rows."""
    return [frame.body[6:] for frame in said if frame.tag == b"D"]


def test_500_clients_make_one_query(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """All of them miss the same key while it takes a second: one of them asks the server, all get the reply."""
    with cluster.connect() as boss:
        boss.execute("CREATE TABLE crowded (x int); GRANT SELECT ON crowded TO app")
    running = beam(cluster, "transaction", plugins=PLUGINS, project={"auth": "trust"})
    sql = (
        "/* @pgbeam:cache */ SELECT sum(n) FROM generate_series(1, 3000000) AS n WHERE NOT EXISTS (SELECT FROM crowded)"
    )
    with running.wire() as first:  # the catalog is known from now on
        first.ask(frames.query("/* @pgbeam:cache */ SELECT 1 FROM categories"))
    before = scans(cluster, "crowded")
    clients = [running.wire() for _ in range(CROWD)]
    try:
        for client in clients:
            client.send(frames.query(sql))
        for client in clients:
            assert rows(client.until(b"Z")) == [b"4500001500000"]
    finally:
        for client in clients:
            client.close()
    deadline = time.monotonic() + 20
    while scans(cluster, "crowded") == before and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.5)  # a server tells what it has counted a second after it has become idle
    assert scans(cluster, "crowded") == before + 1


def test_nobody_waits_for_a_refresh(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """While its refresh hangs behind a lock, a stale reply is served at once, to everybody, with one refresh at it."""
    running = beam(cluster, "transaction", plugins=PLUGINS)
    read = frames.query("/* @pgbeam:cache maxAge=1 swr=60 */ SELECT name FROM categories WHERE id = 1")
    with running.wire() as one, running.wire() as other, cluster.connect() as boss:
        assert rows(one.ask(read)) == [b"category 1"]
        time.sleep(1.1)
        boss.execute("BEGIN; UPDATE categories SET name = 'fresh' WHERE id = 1")
        boss.execute("LOCK TABLE categories IN ACCESS EXCLUSIVE MODE")
        for client in (one, other) * 10:
            start = time.monotonic()
            assert rows(client.ask(read)) == [b"category 1"]
            assert time.monotonic() - start < 0.5
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'categories'::regclass"
        deadline = time.monotonic() + 5
        while boss.execute(waiting).fetchone() != (1,):  # its server may have to be given its settings first
            assert time.monotonic() < deadline
            time.sleep(0.02)
        boss.execute("COMMIT")
        deadline = time.monotonic() + 5
        while rows(one.ask(read)) != [b"fresh"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert rows(other.ask(read)) == [b"fresh"]
