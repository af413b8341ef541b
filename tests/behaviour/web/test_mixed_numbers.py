"""After a bit of everything, each place where numbers are shown has those that the clients have counted themselves."""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from pgbeam_core import ask_running

from ..beams import PGBEAM, Beam
from ..clusters import DATABASE, Cluster, free_port
from ..conftest import BeamFactory
from . import settings_of
from .test_numbers import Web

pytestmark = pytest.mark.pg
CLIENTS = 6
READ = "SELECT name FROM products WHERE id = %s"
CACHED = "/* @pgbeam:cache */ SELECT count(*) FROM products"


@dataclass
class Tally:
    """What clients know that they have done."""

    queries: int = 0
    transactions: int = 0
    errors: int = 0
    prepared: int = 0
    """Executions by Parse and Bind."""
    reads: int = 0
    """Of READ."""
    cached: int = 0
    """Of CACHED."""


def work(mine: Beam, clients: list[psycopg.Connection[Any]], tally: Tally, lock: threading.Lock) -> None:
    """One client that commits, and one that does not; both stay."""
    client = psycopg.connect(mine.url(), prepare_threshold=None)
    auto = psycopg.connect(mine.url(), autocommit=True, prepare_threshold=None)
    for key in range(4):  # nothing but reads: kept back
        client.execute(READ, (key,)).fetchall()
        client.commit()
    for _ in range(2):
        client.execute("SELECT 1")
        client.execute("UPDATE accounts SET balance = balance WHERE id = %s", (1,))
        client.commit()
    with pytest.raises(psycopg.errors.DivisionByZero):
        client.execute("SELECT 1/0")
    client.rollback()
    client.execute("CREATE TEMP TABLE mine (a int)")
    with client.cursor() as cursor, cursor.copy("COPY mine FROM STDIN") as copy:
        copy.write_row((1,))
    client.rollback()
    for _ in range(5):
        auto.execute(CACHED).fetchall()
        auto.execute(READ, (1,)).fetchall()
    with auto.cursor() as cursor, cursor.copy("COPY products TO STDOUT") as copy:
        list(copy.rows())
    with pytest.raises(psycopg.errors.UndefinedColumn):
        auto.execute("SELECT nothing_of_the_kind")
    with lock:
        clients += [client, auto]
        tally.queries += 4 * 3 + 2 * 4 + 3 + 4 + 10 + 2
        tally.transactions += 4 + 2 + 1 + 1 + 10 + 2
        tally.errors += 2
        tally.prepared += 4 + 2 + 5
        tally.reads += 4 + 5
        tally.cached += 5


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_all_places_show_what_clients_did(clusters: Any, beam: BeamFactory, workers: int) -> None:
    """Console, API, metrics, control socket and the screen as text, to the last query, with lazy transactions, the
    extended protocol, the cache, errors, COPY and a replica among it."""
    cluster: Cluster = clusters(15)
    replica = cluster.replicas[0] if cluster.replicas else cluster.replica()
    cluster.wait_for_replay(replica)
    port = free_port()
    settings = settings_of(port, workers=workers, admin_users=["app"])
    project = {"replicas": [f"postgresql://127.0.0.1:{replica.port}"], "auto_read_routing": True}
    mine = beam(cluster, "transaction", settings=settings, project=project)
    mine.wait_for_catalog()
    before = seen(mine, Web(port))
    tally, clients, lock = Tally(), [], threading.Lock()
    threads = [threading.Thread(target=work, args=(mine, clients, tally, lock)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(clients) == 2 * CLIENTS
    after = seen(mine, Web(port))
    for place, numbers in after.items():
        added = {name: value - before[place].get(name, 0) for name, value in numbers.items()}
        wanted = {name: getattr(tally, name) for name in added if hasattr(tally, name)}
        assert {name: added[name] for name in wanted} == wanted, place
        assert numbers.get("clients", 2 * CLIENTS) == 2 * CLIENTS, place
    for name in ("received", "sent", "hits", "misses"):
        shown = {place: numbers[name] for place, numbers in after.items() if name in numbers}
        assert len(shown) > 1
        assert len(set(shown.values())) == 1, (name, shown)
    for client in clients:
        client.close()


def seen(mine: Beam, web: Web) -> dict[str, dict[str, int]]:
    """Place → what it shows, by the names of Tally."""
    shapes = {shape["query"]: shape["calls"] for shape in web.ask("/v1/shapes?limit=100")["shapes"]}
    return {
        "console": of_console(mine),
        "API": of_stats(web.ask("/v1/stats")) | of_shapes(shapes),
        "control socket": of_stats(ask_running(mine.log_path.parent / ".pgbeam", "stats")),
        "metrics": of_metrics(web.metrics()),
        "screen": of_screen(mine),
    }


def of_console(mine: Beam) -> dict[str, int]:
    with psycopg.connect(mine.url("app", "pgbeam"), autocommit=True, row_factory=psycopg.rows.dict_row) as operator:

        def rows(name: str) -> list[dict[str, Any]]:
            return operator.execute(f"SHOW {name}").fetchall()  # type: ignore[arg-type]

        shop = next((row for row in rows("STATS_TOTALS") if row["database"] == DATABASE), {})
        totals = {row["name"]: int(row["value"]) for row in rows("TOTALS")}
        cache = {row["counter"]: row["value"] for row in rows("CACHE")} if "counter" in rows("CACHE")[0] else {}
        assert totals["total_query_count"] == shop.get("query_count", 0)
        pools = sum(row["cl_active"] + row["cl_waiting"] for row in rows("POOLS") if row["database"] == DATABASE)
        clients = sum(row["database"] == DATABASE for row in rows("CLIENTS"))
        databases = {row["name"]: row["current_client_connections"] for row in rows("DATABASES")}
        lists = {row["list"]: row["items"] for row in rows("LISTS")}
        assert pools == clients == databases.get(DATABASE, 0) == lists["used_clients"] - 1
        calls = {row["query"]: row["calls"] for row in rows("SHAPES")}
    numbers = {
        "queries": int(shop.get("query_count", 0)),
        "transactions": int(shop.get("xact_count", 0)),
        "prepared": int(shop.get("bind_count", 0)),
        "received": int(shop.get("bytes_received", 0)),
        "sent": int(shop.get("bytes_sent", 0)),
        "clients": clients,
    }
    assert shop.get("client_parse_count", 0) == shop.get("bind_count", 0)
    return numbers | of_shapes(calls) | {name: int(cache[name]) for name in ("hits", "misses") if name in cache}


def of_stats(stats: Any) -> dict[str, int]:
    shop, cache = stats["projects"]["shop"], stats["cache"]
    names = {"prepared": "binds", "received": "received_bytes", "sent": "sent_bytes"}
    own = {name: shop[names.get(name, name)] for name in ("queries", "transactions", "errors", "clients", *names)}
    return own | {name: cache[name] for name in ("hits", "misses")}


def of_metrics(metrics: dict[tuple[str, ...], float]) -> dict[str, int]:
    names = {
        "queries": "queries_total",
        "transactions": "transactions_total",
        "errors": "query_errors_total",
        "clients": "clients",
    }
    found = {name: int(metrics.get((f"pgbeam_{metric}", "shop"), 0)) for name, metric in names.items()}
    durations = sum(value for key, value in metrics.items() if key[0] == "pgbeam_query_duration_seconds_count")
    assert durations == found["queries"]
    return found | {name: int(metrics[f"pgbeam_cache_{name}_total",]) for name in ("hits", "misses")}


def of_screen(mine: Beam) -> dict[str, int]:
    """`pgbeam top` in a pipe: it tells rates, but for clients and the calls of shapes."""
    words = [str(PGBEAM), "top", "--plain", "--config", mine.command[mine.command.index("--config") + 1]]
    done = subprocess.run(words, cwd=mine.log_path.parent, capture_output=True, text=True, timeout=60, check=True)
    (clients,) = re.findall(r"^shop +(\d+) ", done.stdout, re.MULTILINE)[:1]
    calls = {line.split(maxsplit=6)[-1]: number(line.split()[1]) for line in _shapes(done.stdout)}
    return {"clients": int(clients)} | of_shapes(calls)


def _shapes(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"[0-9a-f]{16} ", line)]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def of_shapes(calls: dict[str, int]) -> dict[str, int]:
    def of(text: str) -> int:
        return sum(count for query, count in calls.items() if text in query)

    return {"reads": of("SELECT name FROM products WHERE id"), "cached": of("count(*) FROM products")}
