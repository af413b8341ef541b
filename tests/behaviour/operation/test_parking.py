"""Projects without clients are parked: their servers are closed, nobody is asked how it is, and the next client finds
everything as it was."""

from __future__ import annotations

import time

import psycopg
import pytest
from psycopg import sql

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.failures.test_faults import value
from tests.behaviour.workers.several import until

pytestmark = [pytest.mark.pg, pytest.mark.newest]

AFTER_S = 1.0
PARKED_IN_S = 12.0
"""Idle servers are looked at every five seconds."""


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])
def parking(request: pytest.FixtureRequest, cluster: Cluster, fresh_shop: None, beam: BeamFactory) -> Beam:
    """A PgBeam that parks early, and keeps servers ready and replicas probed until then."""
    plugins = {
        "pool": {"park_after_s": AFTER_S, "min_idle": 2},
        "replica": {"park_after_s": AFTER_S, "probe_interval_s": 0.2},
        "cache": {"park_after_s": AFTER_S, "enabled": True, "ttl_s": 600, "l2": "off"},
    }
    replica = f"postgresql://localhost:{cluster.port}/shop?sslmode=disable"
    settings = {"workers": request.param, "plugins": plugins}
    return beam(cluster, "transaction", settings=settings, project={"replicas": [replica], "auto_read_routing": True})


def logins(beam: Beam) -> int:
    """How many connections the database has ever had, but for those that ask here."""
    with beam.cluster.connect() as boss:
        boss.execute("SELECT pg_stat_clear_snapshot()")
        row = boss.execute("SELECT sum(sessions) FROM pg_stat_database WHERE datname = 'shop'").fetchone()
    return int(row[0])


@pytest.mark.slow
def test_a_project_without_clients_leaves_its_database_alone(parking: Beam) -> None:
    """No server stays, those of min_idle neither, and no replica is probed: a database that stops when nobody uses it
    may stop. The next client is served like the first, from the cache too where that is not older than a write."""
    with psycopg.connect(parking.url(), autocommit=True, prepare_threshold=0) as client:
        client.execute("SET work_mem = '7MB'")
        assert client.execute("SELECT name FROM categories WHERE id = %s", (1,)).fetchone() == ("category 1",)
        until(lambda: len(parking.servers()) >= 2)
    until(lambda: parking.servers() == [], PARKED_IN_S)
    before = logins(parking)
    time.sleep(2.0)
    assert logins(parking) == before + 1  # the one that asked before
    with psycopg.connect(parking.url(), autocommit=True, prepare_threshold=0) as client:
        assert client.execute("SHOW work_mem").fetchone() != ("7MB",)
        assert client.execute("SELECT name FROM categories WHERE id = %s", (1,)).fetchone() == ("category 1",)
        client.execute("UPDATE categories SET name = 'after' WHERE id = 1")
        assert client.execute("SELECT name FROM categories WHERE id = %s", (1,)).fetchone() == ("after",)
    until(lambda: parking.servers() == [], PARKED_IN_S)
    assert not parking.complaints()


@pytest.mark.slow
def test_a_database_whose_clients_have_gone_can_be_dropped(parking: Beam) -> None:
    """DROP DATABASE past PgBeam finds nobody in a database of a project that is parked."""
    with parking.cluster.connect() as boss:
        boss.autocommit = True
        boss.execute("CREATE DATABASE parked OWNER app")
        try:
            with psycopg.connect(parking.url(database="parked")) as client:
                client.execute("CREATE TABLE t AS SELECT 1 AS n")
            until(lambda: parking.servers() == [], PARKED_IN_S)
        finally:
            boss.execute(sql.SQL("DROP DATABASE parked"))
    with pytest.raises(psycopg.OperationalError, match='database "parked" does not exist'):
        psycopg.connect(parking.url(database="parked"))


@pytest.mark.slow
def test_who_is_there_keeps_it_awake(parking: Beam) -> None:
    """An idle client is a client: what it listens to, its locks, temporary tables and open transaction are there after
    any time."""
    with parking.wire() as idle:
        for text in ("LISTEN news", "SELECT pg_advisory_lock(17)", "CREATE TEMP TABLE mine AS SELECT 5 AS n"):
            idle.ask(frames.query(text))
        idle.ask(frames.query("BEGIN"))
        time.sleep(AFTER_S + 6.0)
        assert value(idle.ask(frames.query("SELECT n FROM mine"))) == b"5"
        idle.ask(frames.query("COMMIT"))
        with parking.cluster.connect() as boss:
            assert boss.execute("SELECT pg_try_advisory_lock(17)").fetchone() == (False,)
            boss.execute("NOTIFY news, 'still'")
            boss.commit()
        assert b"still" in idle.until(b"A")[-1].body
    until(lambda: parking.servers() == [], PARKED_IN_S)
