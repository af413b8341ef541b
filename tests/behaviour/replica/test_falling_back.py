"""A replica that gives no server costs its clients nothing but time."""

from __future__ import annotations

import pytest

from pgbeam_core.testing import FakePostgres, table
from pgbeam_replica import Replicas
from pgbeam_replica.watch import ASK_REPLICA

pytest_plugins = ["pgbeam_core.testing.fixtures"]

ASKED = "/* @pgbeam:replica */ SELECT n FROM t"
PLAIN = "SELECT n FROM t"


@pytest.fixture
def rehearsal(rehearse):
    """A primary and one replica that probes find well."""
    said = {PLAIN: table(["n"], [("1",)]), ASK_REPLICA.decode(): table(["a", "b"], [("t", "0/1000")])}
    return rehearse(
        {"replica": Replicas()},
        project={"replicas": ["postgresql://probe@r1:5432?sslmode=disable"]},
        servers={"primary:5432": FakePostgres(said), "r1:5432": FakePostgres(said)},
    )


@pytest.mark.parametrize("ask", ["query", "execute"])
def test_a_replica_that_cannot_be_reached_is_passed_over(rehearsal, ask):
    """The primary answers the query for which the replica gave no server; the replica is out from then on."""
    client = rehearsal.login()
    rehearsal.servers["r1:5432"].down = True
    assert getattr(client, ask)(ASKED).rows == (("1",),)
    query, result = rehearsal.results[-1]
    assert (query.facts["upstream"], result.error) == ("primary:5432", None)
    assert "replica" not in query.facts
    counts = rehearsal.stats()["replica"]["shop"]
    assert (counts["queries_fell_back"], counts["replicas_up"]) == (1, 0)


def test_a_replica_that_turns_one_user_away_serves_the_others(rehearsal):
    """A user whose password PgBeam does not have is not tried there again for a while; the replica stays in use."""
    rehearsal.servers["r1:5432"].passwords["app"] = "unknown to PgBeam"
    client, other = rehearsal.login("app"), rehearsal.login("other")
    for _ in range(3):
        assert client.query(ASKED).rows == (("1",),)
        assert other.query(ASKED).rows == (("1",),)
    counts = rehearsal.stats()["replica"]["shop"]
    assert (counts["queries_fell_back"], counts["replicas_up"]) == (1, 1)
    assert [query.facts["upstream"] for query, _ in rehearsal.results] == ["primary:5432", "r1:5432"] * 3
