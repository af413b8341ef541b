"""What is shown is what clients did, wherever one looks, with one process and with three."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pgbeam_core import ask_running

from ..beams import Beam
from ..clusters import Cluster, free_port
from ..conftest import BeamFactory
from . import TOKEN, settings_of

pytestmark = pytest.mark.pg

READ = "SELECT name FROM products WHERE id = %s"


class Web:
    """What is served beside a PgBeam."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """The reply of the API; raises HTTPError for a refusal."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def metrics(self) -> dict[tuple[str, ...], float]:
        """(name, label values …) → number."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=20) as reply:
            text = reply.read().decode()
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture(params=[1, 3])
def pair(request: pytest.FixtureRequest, cluster: Cluster, beam: BeamFactory) -> tuple[Beam, Web]:
    """A PgBeam with one process, or three workers, and its web side."""
    port = free_port()
    return beam(cluster, "transaction", settings=settings_of(port, workers=request.param)), Web(port)


def until(condition: Callable[[], bool]) -> None:
    """It comes true within some seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.1)


def test_numbers_agree(pair: tuple[Beam, Web]) -> None:
    """Clients, the API, metrics and the control socket have counted the same queries, errors, hits and clients."""
    mine, web = pair
    clients = [psycopg.connect(mine.url(), autocommit=True) for _ in range(6)]
    queries = errors = 0
    for number, client in enumerate(clients):
        for key in range(5):
            client.execute(READ, [key]).fetchall()
            client.execute("/* @pgbeam:cache */ SELECT count(*) FROM products").fetchall()
        queries += 10
        if number % 2:
            with pytest.raises(psycopg.errors.DivisionByZero):
                client.execute("SELECT 1/0")
            errors, queries = errors + 1, queries + 1
    stats = web.ask("/v1/stats")
    shop = stats["projects"]["shop"]
    assert (shop["clients"], shop["queries"], shop["errors"]) == (6, queries, errors)
    running = ask_running(mine.log_path.parent / ".pgbeam", "stats")
    metrics = web.metrics()
    assert metrics["pgbeam_clients", "shop"] == 6
    for counter in ("queries", "queries_answered", "transactions"):
        assert metrics[f"pgbeam_{counter}_total", "shop"] == shop[counter] == running["projects"]["shop"][counter]
    assert metrics["pgbeam_query_errors_total", "shop"] == errors
    counts = [value for key, value in metrics.items() if key[0] == "pgbeam_query_duration_seconds_count"]
    assert sum(counts) == queries
    cache = stats["cache"]
    for counter in ("hits", "misses"):
        assert metrics[f"pgbeam_cache_{counter}_total",] == cache[counter]
    # A worker that does not know the catalog yet remembers nothing.
    assert cache["hits"] + cache["misses"] + cache["bypasses"].get("unknown", 0) == 30
    (shape,) = web.ask("/v1/shapes?search=name+from+products")["shapes"]
    assert (shape["calls"], shape["project"]) == (30, "shop")
    servers = [value for key, value in metrics.items() if key[0] == "pgbeam_pool_servers" and "opening" not in key]
    assert sum(servers) == stats["pool"]["pool"]["shop"]["servers"]
    for client in clients:
        client.close()
    until(lambda: web.metrics()["pgbeam_clients", "shop"] == 0)


def test_a_rule_holds_for_all_and_is_foretold(pair: tuple[Beam, Web]) -> None:
    """What the page promises of a rule comes true once it is switched on, through whichever worker."""
    mine, web = pair
    clients = [psycopg.connect(mine.url(), autocommit=True) for _ in range(3)]
    notices: list[str] = []
    for client in clients:
        client.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        client.execute("SET pgbeam.debug = on")
        for number in range(20):
            client.execute(READ, [number % 2]).fetchall()
    (shape,) = web.ask("/v1/shapes?search=name+from+products&ttl=60")["shapes"]
    foretold = shape["what_if"]
    assert foretold["calls"] == 60
    assert foretold["hits"] == 60 - foretold["asked"]
    assert 2 <= foretold["asked"] <= 6
    assert not any("cache=hit" in notice for notice in notices)
    path = f"/v1/projects/shop/cache-rules/{shape['query_hash']}"
    web.ask(path, "PUT", {"ttl": 120})
    for client in clients:
        until(lambda client=client: client.execute(READ, [0]) and "cache=hit" in notices[-1])  # type: ignore[misc]
        assert "ttl=120s" in notices[-1]
    assert web.ask(path)["scope"] == "project"
    web.ask(path, "DELETE")
    for client in clients:
        until(lambda client=client: client.execute(READ, [0]) and "cache=bypass" in notices[-1])  # type: ignore[misc]
        client.close()
    with pytest.raises(urllib.error.HTTPError) as error:
        web.ask(path)
    assert error.value.code == 404
