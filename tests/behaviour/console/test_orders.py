"""What an operator tells PgBeam, in every form, with one process and with three workers."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ..beams import Beam
from ..clusters import Cluster
from .conftest import OPERATORS
from .said import said

pytestmark = pytest.mark.pg

AS_PGBOUNCER: tuple[tuple[str, ...], ...] = (
    ("PAUSE;", "RESUME;"),
    ("pause", "resume"),
    ("PAUSE shop", "PAUSE shop;", 'resume "shop"'),
    ("PAUSE", "PAUSE", "PAUSE shop", "KILL shop", "SUSPEND", "RESUME"),
    ("PAUSE shop", "PAUSE", "RESUME", "RESUME shop"),
    ("PAUSE shop", "RESUME", "RESUME shop"),
    ("RESUME", "RESUME shop", "RESUME nodb"),
    ("PAUSE nodb", 'PAUSE "SHOP"', "PAUSE SHOP", "PAUSE a b", "PAUSE pgbouncer"),
    ("RECONNECT", "reconnect shop;", "RECONNECT nodb", "RECONNECT a b"),
    ("DISABLE", "DISABLE nodb", "DISABLE pgbouncer", "DISABLE shop", "DISABLE shop", "ENABLE shop", "enable shop;"),
    ("ENABLE", "ENABLE nodb", "ENABLE a b"),
    ("KILL nodb", "KILL pgbouncer", "KILL a b", "KILL shop", "KILL shop", "RESUME shop"),
    ("WAIT_CLOSE", "wait_close shop;", "WAIT_CLOSE nodb", "WAIT_CLOSE pgbouncer", "WAIT_CLOSE a b"),
    ("RELOAD", "reload;", "RELOAD now"),
    ("SUSPEND", "SUSPEND", "PAUSE", "RESUME"),
    ("SUSPEND now",),
    ("SHOW", "SHOW nosuch", "SHOW POOLS shop", "NONSENSE", "COPY x FROM STDIN", "SET", "SET key"),
    ("SHOW POOLS", "show pools;", 'SHOW "pools"', "SHOW HELP"),
    ("SET client_encoding = 'UTF8'",),
    ("SET default_pool_size = 20", "set default_pool_size='20';", "SET default_pool_size TO 60"),
    ("SET query_wait_timeout = 30", "SET server_idle_timeout=600", "SET server_lifetime = '3600'"),
)
"""What is said to one console after the other; both must answer with the same tags and messages."""
REFUSED = (
    *("PAUSE", "RESUME", "RECONNECT", "DISABLE shop", "ENABLE shop", "KILL shop", "KILL", "KILL_CLIENT 1"),
    *("WAIT_CLOSE", "RELOAD", "SUSPEND", "SHUTDOWN", "SHUTDOWN WAIT_FOR_CLIENTS", "SET default_pool_size = 1"),
)
OWN_ERRORS = {
    "KILL_CLIENT": "ERROR 22023 KILL_CLIENT takes the id of a client",
    "KILL_CLIENT abc": "ERROR 22023 KILL_CLIENT takes the id of a client",
    "KILL_CLIENT 999999": "ERROR 42704 client not found: 999999",
    "KILL_CLIENT 1 2": "ERROR 08P01 invalid command 'KILL_CLIENT 1 2', use SHOW HELP;",
    "SHUTDOWN now": "ERROR 22023 SHUTDOWN takes WAIT_FOR_SERVERS, WAIT_FOR_CLIENTS or nothing",
    "SET nosuch = 1": 'ERROR 42704 unrecognized configuration parameter "nosuch"',
    "SET default_pool_size = many": 'ERROR 22023 invalid value for parameter "default_pool_size": "many"',
    "SET plugins.pool.max_active = -1": 'ERROR 22023 invalid value for parameter "plugins.pool.max_active": "-1"',
    "SET workers = 9": 'ERROR 55P02 parameter "workers" cannot be changed without restarting PgBeam',
}


@pytest.mark.parametrize("texts", AS_PGBOUNCER, ids=lambda texts: texts[0])
def test_orders_are_answered_as_pgbouncer_answers_them(steered: Beam, bouncer: str, texts: tuple[str, ...]) -> None:
    """Tags and messages are PgBouncer's, right forms and wrong ones; only the SQLSTATEs say more than 08P01."""
    theirs = [_without_sqlstate(each) for each in said(bouncer, *texts)]
    assert [_without_sqlstate(each) for each in said(steered.url("app", "pgbouncer"), *texts)] == theirs


def test_what_only_pgbeam_says_names_what_is_wrong(steered: Beam) -> None:
    """A wrong id, setting or value has a SQLSTATE of its own, and nothing has been changed."""
    for text, answer in OWN_ERRORS.items():
        assert said(steered.url("app", "pgbeam"), text) == [answer]


def test_who_may_only_look_orders_nothing(steered: Beam) -> None:
    """stats_users read every table, and no order of theirs is obeyed."""
    url = steered.url("with_scram", "pgbeam")
    assert said(url, "SHOW POOLS", "SHOW CONFIG; SHOW STATS") == ["SHOW"] * 3
    assert said(url, *REFUSED) == ["ERROR 42501 admin access needed"] * len(REFUSED)
    assert said(steered.url("app", "pgbeam"), "SHOW STATE")
    with psycopg.connect(steered.url()) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_paused_clients_of_every_worker_wait_and_others_go_on(steered: Beam) -> None:
    """PAUSE of one database holds its clients, whichever worker has them; RESUME lets them all go on."""
    with (
        _clients(steered, 3) as clients,
        _operator(steered) as operator,
        psycopg.connect(steered.url(database="postgres"), autocommit=True) as other,
        ThreadPoolExecutor(3) as pool,
    ):
        operator.execute("PAUSE shop")
        asked = [pool.submit(client.execute, "SELECT 1") for client in clients]
        _until(lambda: _column(operator, "SHOW WAITING", "why") == ['database "shop" is paused'] * 3)
        assert other.execute("SELECT 1").fetchone() == (1,)
        assert {row["name"]: row["paused"] for row in _rows(operator, "SHOW DATABASES")}["shop"] == 1
        operator.execute("RESUME shop")
        assert [one.result(20).fetchone() for one in asked] == [(1,)] * 3


@pytest.mark.parametrize("what", ["KILL shop", "KILL"])
def test_killed_clients_are_gone_and_the_operator_stays(steered: Beam, what: str) -> None:
    """Every client of it is ended with 57P01, whichever worker has it; who said so is not, and new ones wait."""
    with _clients(steered, 3) as clients, _operator(steered) as operator:
        assert operator.execute(what).statusmessage == "KILL"  # type: ignore[arg-type]
        for client in clients:
            with pytest.raises(psycopg.OperationalError, match="terminating connection due to administrator command"):
                client.execute("SELECT 1")
        with ThreadPoolExecutor(1) as pool, psycopg.connect(steered.url(), autocommit=True) as late:
            asked = pool.submit(late.execute, "SELECT 1")
            _until(lambda: len(_column(operator, "SHOW WAITING", "id")) == 1)
            operator.execute(what.replace("KILL", "RESUME"))  # type: ignore[arg-type]
            assert asked.result(20).fetchone() == (1,)


def test_one_client_is_ended_whichever_worker_has_it(steered: Beam) -> None:
    """KILL_CLIENT with an id of SHOW CLIENTS ends that one and no other."""
    with _clients(steered, 3) as clients, _operator(steered) as operator:
        for number, client in enumerate(clients):
            rows = _rows(operator, "SHOW CLIENTS")
            (found,) = (row["id"] for row in rows if row["application_name"] == f"client {number}")
            assert said(steered.url("app", "pgbeam"), f"kill_client {found};") == ["KILL_CLIENT"]
            with pytest.raises(psycopg.OperationalError, match="administrator command"):
                client.execute("SELECT 1")
            assert [one.execute("SELECT 1").fetchone() for one in clients[number + 1 :]] == [(1,)] * (2 - number)


def test_a_disabled_database_takes_nobody_new(steered: Beam) -> None:
    """57P03 from every worker, those who are there stay; ENABLE takes it back."""
    with _clients(steered, 3) as clients, _operator(steered) as operator:
        operator.execute("DISABLE shop")
        for _ in range(4):
            with pytest.raises(psycopg.OperationalError, match='database "shop" is disabled'):
                psycopg.connect(steered.url())
        assert [client.execute("SELECT 1").fetchone() for client in clients] == [(1,)] * 3
        operator.execute("ENABLE shop")
        psycopg.connect(steered.url()).close()


def test_reconnected_servers_are_new_ones(steered: Beam) -> None:
    """RECONNECT leaves a running transaction its server; WAIT_CLOSE answers when that is closed, too."""
    with _clients(steered, 3) as clients, _operator(steered) as operator:
        before = {_server_of(client) for client in clients}
        clients[0].execute("BEGIN")
        kept = _server_of(clients[0])
        operator.execute("RECONNECT")
        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(operator.execute, "WAIT_CLOSE")
            assert _server_of(clients[0]) == kept
            assert not waits.done()
            clients[0].execute("COMMIT")
            assert waits.result(20).statusmessage == "WAIT_CLOSE"
        assert not before & {_server_of(client) for client in clients}


def test_suspended_clients_are_not_read_until_resume(steered: Beam) -> None:
    """SUSPEND answers when nothing is under way; RESUME, or the end of who said it, lets everybody go on."""
    with _clients(steered, 3) as clients, ThreadPoolExecutor(3) as pool:
        with _operator(steered) as operator:
            operator.execute("SUSPEND")
            asked = [pool.submit(client.execute, "SELECT 1") for client in clients]
            assert dict(operator.execute("SHOW STATE").fetchall())["suspended"] == "yes"
            time.sleep(0.2)
            assert not any(one.done() for one in asked)
            operator.execute("RESUME")
            assert [one.result(20).fetchone() for one in asked] == [(1,)] * 3
            operator.execute("SUSPEND")
        assert [pool.submit(client.execute, "SELECT 2").result(20).fetchone() for client in clients] == [(2,)] * 3


def test_settings_are_shown_as_they_were_set(steered: Beam) -> None:
    """By PgBouncer's names and by PgBeam's own; what is SET holds in all workers and survives RELOAD."""
    with _operator(steered) as operator:
        operator.execute("SET default_pool_size = 33")
        operator.execute("RELOAD")
        config = {row["key"]: row["value"] for row in _rows(operator, "SHOW CONFIG")}
        assert config["default_pool_size"] == config["plugins.pool.max_active"] == "33"
        operator.execute("SET plugins.pool.max_active = 60")
        config = {row["key"]: row["value"] for row in _rows(operator, "SHOW CONFIG")}
        assert config["default_pool_size"] == config["plugins.pool.max_active"] == "60"


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS", "shutdown wait_for_clients;"])
def test_shut_down_in_three_ways(clusters: Callable[[int], Cluster], tmp_path: Path, how: str, workers: int) -> None:
    """At once, after running transactions, or after the last client; nobody new gets in, and it ends with 0."""
    settings = {**OPERATORS, "workers": workers}
    running = Beam(clusters(18), "transaction", tmp_path, settings=settings, project={"auth": "trust"})
    try:
        with _clients(running, 2) as (idle, busy):
            busy.execute("BEGIN")
            busy.execute("CREATE TEMP TABLE mine (a int)")
            assert said(running.url("app", "pgbeam"), how) == [how.split(maxsplit=1)[0].upper()]
            with pytest.raises(psycopg.OperationalError, match=r"refused|shutting down"):
                psycopg.connect(running.url(), connect_timeout=5)
            alive = "clients" in how
            assert _answers(idle) is alive
            assert _answers(busy) is (how != "SHUTDOWN")
            if how != "SHUTDOWN":
                busy.execute("COMMIT")
                assert _answers(idle) is alive
        assert running.process.wait(15) == 0
        assert running.complaints() == []
    finally:
        if running.process.poll() is None:
            running.process.kill()


def test_a_transaction_around_orders_changes_nothing(steered: Beam) -> None:
    """Drivers that begin a transaction by themselves may look and order; an error is theirs until they roll back."""
    with psycopg.connect(steered.url("app", "pgbeam")) as operator:
        operator.execute("SHOW STATS").fetchall()
        operator.execute("PAUSE shop")
        operator.rollback()
        assert {row["name"]: row["paused"] for row in _rows(operator, "SHOW DATABASES")}["shop"] == 1
        operator.execute("RESUME shop")
        with pytest.raises(psycopg.Error, match="no such database: nodb"):
            operator.execute("PAUSE nodb")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            operator.execute("SHOW STATS")
        operator.rollback()
        operator.execute("SHOW STATS")


def test_a_paused_order_is_taken_back_by_cancel(steered: Beam) -> None:
    """Ctrl-C at a PAUSE that waits for a transaction: nothing is paused."""
    with _clients(steered, 1) as (client,), _operator(steered) as operator:
        client.execute("BEGIN")
        client.execute("CREATE TEMP TABLE mine (a int)")
        timer = threading.Timer(0.3, operator.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            operator.execute("PAUSE")
        timer.join()
        assert dict(operator.execute("SHOW STATE").fetchall())["paused"] == "no"
        client.execute("ROLLBACK")


def test_psql_says_what_is_wrong(steered: Beam, tmp_path: Path) -> None:
    """Several commands in one query, COPY and commands of psql end in an error or an answer, never in a hang."""
    url = steered.url("app", "pgbeam")

    def psql(command: str) -> subprocess.CompletedProcess[str]:
        words = ["psql", "-X", url, "-c", command]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)

    assert "Console usage" in psql("show help").stderr
    assert psql("SHOW VERSION; SHOW STATE").stdout.count("row") == 2
    for wrong in ("COPY pools TO STDOUT", "SELECT * FROM pools", "\\copy pools to 'pools.csv'", "SHOW VERSION; x"):
        failed = psql(wrong)
        assert failed.returncode == 1
        assert "invalid command" in failed.stderr
    for meta in ("\\d", "\\dt", "\\l", "\\du", "\\dn", "\\df", "\\dx", "\\d products", "\\conninfo"):
        assert "invalid" not in psql(meta).stderr


@contextmanager
def _clients(beam: Beam, count: int) -> Iterator[list[psycopg.Connection[Any]]]:
    """So many of the application's, by the names `client 0` …; of several workers each has one."""
    with ExitStack() as stack:
        made = [
            psycopg.connect(beam.url(application_name=f"client {number}"), autocommit=True) for number in range(count)
        ]
        for client in made:
            stack.callback(client.close)
        yield made


@contextmanager
def _operator(beam: Beam) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(beam.url("app", "pgbeam"), autocommit=True) as connection:
        yield connection


def _rows(operator: psycopg.Connection[Any], text: str) -> list[dict[str, Any]]:
    with operator.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(text).fetchall()  # type: ignore[arg-type]


def _column(operator: psycopg.Connection[Any], text: str, name: str) -> list[Any]:
    return [row[name] for row in _rows(operator, text)]


def _server_of(client: psycopg.Connection[Any]) -> int:
    found = client.execute("SELECT pg_backend_pid()").fetchone()
    assert found is not None
    return int(found[0])


def _answers(client: psycopg.Connection[Any]) -> bool:
    try:
        return client.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _without_sqlstate(answer: str) -> str:
    return " ".join(["ERROR", *answer.split(" ")[2:]]) if answer.startswith("ERROR ") else answer
