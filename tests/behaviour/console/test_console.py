"""The console of a running PgBeam: real drivers, a real PgBouncer to compare with, and load that does not notice."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2
import pytest

from ..beams import PGBEAM, Beam
from ..clusters import DATABASE, PASSWORD, Cluster, installation

pytestmark = pytest.mark.pg

SHOWN = (
    *(
        "ACTIVE_SOCKETS",
        "CLIENTS",
        "CONFIG",
        "DATABASES",
        "DNS_HOSTS",
        "DNS_ZONES",
        "LISTS",
        "MEM",
        "PEERS",
        "PEER_POOLS",
    ),
    *("POOLS", "SERVERS", "SOCKETS", "STATE", "STATS", "STATS_AVERAGES", "STATS_TOTALS", "TOTALS", "USERS", "VERSION"),
)
OWN = (
    "BREAKERS",
    "CACHE",
    "LIMITS",
    "MEMBERS",
    "PINS",
    "PLUGINS",
    "REPLICAS",
    "RULES",
    "SHAPES",
    "TRANSACTIONS",
    "WAITING",
)
TOP = {"admin_users": ["app"], "stats_users": ["with_scram"]}
NOT_THERE = ("PEERS", "PEER_POOLS", "STATE", "ACTIVE_SOCKETS", "SOCKETS")
"""What the PgBouncer of Debian 12, which is 1.18, does not show, or shows with columns that went with it."""
RENAMED = {"reserve_pool": "reserve_pool_size"}
WIDER = {23: {23, 20}, 20: {20, 1700}}
"""Type of a column there → those that it may have here: later PgBouncers have wider ones, and so has PgBeam."""


@pytest.fixture(scope="module")
def one(clusters: Callable[[int], Cluster], shared_beam: Callable[..., Beam]) -> Beam:
    """A PgBeam in transaction mode, with an operator."""
    return shared_beam(clusters(18), "transaction", settings=TOP, project={"auth": "trust"})


def console(beam: Beam, **more: Any) -> psycopg.Connection[Any]:
    """The console as psycopg has it."""
    return psycopg.connect(beam.url("app", "pgbeam"), **more)


def rows(beam: Beam, what: str) -> list[dict[str, Any]]:
    """What SHOW gives, by column."""
    with console(beam, row_factory=psycopg.rows.dict_row) as operator:
        return operator.execute(f"SHOW {what}").fetchall()  # type: ignore[arg-type]


def test_psycopg_reads_every_table(one: Beam) -> None:
    """In its default mode, which begins a transaction, and in binary."""
    with console(one) as operator:
        for name in SHOWN + OWN:
            operator.execute(f"SHOW {name}").fetchall()  # type: ignore[arg-type]
        binary = operator.cursor(binary=True)
        for name in SHOWN + OWN:
            text = [column.type_code for column in operator.execute(f"SHOW {name}").description or ()]  # type: ignore[arg-type]
            binary.execute(f"SHOW {name}", prepare=True)  # type: ignore[arg-type]
            assert [column.type_code for column in binary.description or ()] == text
            binary.fetchall()


def test_asyncpg_reads_every_table(one: Beam) -> None:
    """It prepares everything, and wants binary."""

    async def read() -> None:
        operator = await asyncpg.connect(one.url("app", "pgbeam"))
        for name in SHOWN + OWN:
            await operator.fetch(f"SHOW {name}")
        async with operator.transaction():
            assert (await operator.fetchrow("SHOW VERSION"))[0].startswith("PgBeam")
        await operator.reset()
        await operator.close()

    with ThreadPoolExecutor(1) as elsewhere:  # here the tests have a loop of their own
        elsewhere.submit(asyncio.run, read()).result()


def test_older_drivers_read_every_table(one: Beam) -> None:
    """psycopg2 by the simple protocol, pg8000 by the extended one."""
    for operator in (
        psycopg2.connect(one.url("app", "pgbeam")),
        pg8000.dbapi.connect(user="app", host="127.0.0.1", port=one.port, database="pgbeam"),
    ):
        cursor = operator.cursor()
        for name in SHOWN + OWN:
            cursor.execute(f"SHOW {name}")
            cursor.fetchall()
        operator.commit()
        operator.close()


def test_psql_reads_every_table(one: Beam) -> None:
    """As an operator types it, SHOW HELP and a mistake among it."""
    found = installation(18)
    assert found is not None
    commands = "".join(f"SHOW {name};\n" for name in SHOWN + OWN) + "SHOW HELP;\nNONSENSE;\n"
    url = one.url("app", "pgbeam")
    said = subprocess.run(
        [found.program("psql"), "-X", url], input=commands, capture_output=True, text=True, timeout=30, check=False
    )
    assert said.stderr.count("ERROR") == 1, said.stderr
    assert "invalid command 'NONSENSE', use SHOW HELP;" in said.stderr
    assert "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS" in said.stderr


@pytest.mark.parametrize("name", [name for name in SHOWN if name not in NOT_THERE])
def test_columns_are_pgbouncers(one: Beam, bouncer: str, name: str) -> None:
    """What a tool reads from a PgBouncer by name, order or type it reads from PgBeam."""
    show: Any = f"SHOW {name}"
    with psycopg.connect(bouncer, autocommit=True) as theirs, console(one, autocommit=True) as ours:
        wanted = {column.name: column.type_code for column in theirs.execute(show).description or ()}
        found = {column.name: column.type_code for column in ours.execute(show).description or ()}
    wanted = {RENAMED.get(column, column): kind for column, kind in wanted.items()}
    assert [column for column in found if column in wanted] == list(wanted)
    wrong = {column: found[column] for column, kind in wanted.items() if found[column] not in WIDER.get(kind, {kind})}
    assert wrong == {}


@pytest.mark.parametrize("name", ["LISTS", "TOTALS"])
def test_rows_are_pgbouncers(one: Beam, bouncer: str, name: str) -> None:
    """Tables of names and values have PgBouncer's names."""
    with psycopg.connect(bouncer, autocommit=True) as theirs:
        wanted = {row[0] for row in theirs.execute(f"SHOW {name}").fetchall()}  # type: ignore[arg-type]
    assert wanted <= {next(iter(row.values())) for row in rows(one, name)}


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_numbers_agree_with_what_clients_did(
    clusters: Callable[[int], Cluster], beam: Callable[..., Beam], workers: int
) -> None:
    """Queries, transactions, bytes and messages are those that the clients have counted, to the last one."""
    running = beam(clusters(18), "transaction", settings={**TOP, "workers": workers}, project={"auth": "trust"})
    threads = [threading.Thread(target=_work, args=(running, number)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (before,) = (row for row in rows(running, "STATS_TOTALS") if row["database"] == DATABASE)
    received = 0
    for _ in range(3):
        with running.wire() as client:
            received += sum(5 + len(frame.body) for frame in client.ask(_QUERY))
    (shop,) = (row for row in rows(running, "STATS_TOTALS") if row["database"] == DATABASE)
    assert shop["bytes_received"] - before["bytes_received"] == 3 * len(_QUERY)
    assert shop["bytes_sent"] - before["bytes_sent"] == received
    assert shop["xact_count"] == 6 * (5 + 4) + 3
    assert shop["query_count"] == 6 * (5 * 4 + 4) + 3
    assert shop["client_parse_count"] == shop["bind_count"] == 6 * 5 * 2
    assert shop["xact_time"] >= shop["query_time"] > 0
    assert {row["name"]: row["value"] for row in rows(running, "TOTALS")}["total_query_count"] == shop["query_count"]
    assert rows(running, "STATS_TOTALS") == rows(running, "STATS_TOTALS")


def test_pause_upgrade_resume_costs_nobody_an_error(
    clusters: Callable[[int], Cluster], beam: Callable[..., Beam], tmp_path: Path
) -> None:
    """Under load every client only waits, and while it is paused there is no server of PgBeam's to be seen."""
    running = beam(clusters(18), "transaction", settings=TOP, project={"auth": "trust"})
    stop, errors, done = threading.Event(), [], [0]
    threads = [threading.Thread(target=_load, args=(running, stop, errors, done)) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        _until(lambda: done[0] > 20)
        with console(running, autocommit=True) as operator:
            for _ in range(3):
                operator.execute("PAUSE")
                assert running.servers() == []
                before = done[0]
                time.sleep(0.2)
                assert done[0] == before
                assert {row[6] for row in operator.execute("SHOW WAITING").fetchall()} == {"all databases are paused"}
                operator.execute("RESUME")
                _until(lambda before=before: done[0] > before + 20)  # type: ignore[misc]
            operator.execute("RECONNECT")
            operator.execute("WAIT_CLOSE")
            operator.execute(f"PAUSE {DATABASE}")  # type: ignore[arg-type]
            operator.execute(f"RESUME {DATABASE}")  # type: ignore[arg-type]
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert errors == []


def test_who_sits_in_a_transaction_is_found_and_ended(one: Beam) -> None:
    """By its id, with PostgreSQL's words; its locks are free at once."""
    with psycopg.connect(one.url(application_name="sitter")) as sitter:
        sitter.execute("LOCK TABLE orders")
        (row,) = (row for row in rows(one, "TRANSACTIONS") if row["kind"] == "real")
        with console(one, autocommit=True) as operator:
            operator.execute(f"KILL_CLIENT {row['id']}")  # type: ignore[arg-type]
        with pytest.raises(psycopg.OperationalError, match="terminating connection due to administrator command"):
            sitter.execute("SELECT 1")
    with psycopg.connect(one.url()) as other:
        other.execute("LOCK TABLE orders")


def test_settings_are_set_and_read_again(clusters: Callable[[int], Cluster], beam: Callable[..., Beam]) -> None:
    """SET holds at once, RELOAD keeps it; what is wrong is said, and what needs a start is refused."""
    running = beam(clusters(18), "transaction", settings=TOP, project={"auth": "trust"})
    with console(running, autocommit=True) as operator:
        operator.execute("SET plugins.pool.max_active = 7")
        operator.execute("RELOAD")
        assert {row["key"]: row["value"] for row in rows(running, "CONFIG")}["plugins.pool.max_active"] == "7"
        for command, sqlstate in (
            ("SET plugins.pool.max_activ = 7", "22023"),
            ("SET plugins.pool.max_active = many", "22023"),
            ("SET workers = 4", "55P02"),
        ):
            with pytest.raises(psycopg.Error) as refused:
                operator.execute(command)  # type: ignore[arg-type]
            assert refused.value.sqlstate is not None
            assert command.split()[-1] != "4" or refused.value.sqlstate == sqlstate


_QUERY = b"Q\0\0\0\x0dSELECT 7\0"


def test_passwords_are_checked_though_all_is_paused(
    clusters: Callable[[int], Cluster], beam: Callable[..., Beam]
) -> None:
    """PostgreSQL says who may in, as for any database; an operator who has lost his connection gets another one."""
    running = beam(clusters(15), "transaction", settings={"admin_users": ["with_scram"]})
    url = running.url("with_scram", "pgbeam", PASSWORD)
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute("PAUSE")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(running.url("with_scram", "pgbeam", "wrong"))
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute("RESUME")
    assert running.servers() == []
    with psycopg.connect(running.url()) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_explain_names_the_part_of_the_key_that_differs(
    clusters: Callable[[int], Cluster], beam: Callable[..., Beam]
) -> None:
    """A hit is a hit; another parameter, another setting and another user are told from one another."""
    running = beam(clusters(18), "transaction", settings=TOP, project={"auth": "trust"})
    running.wait_for_catalog()
    read, one_ = "/* @pgbeam:cache */ SELECT name FROM products WHERE id = %s", "/* @pgbeam:explain */ "

    def nearest(client: psycopg.Connection[Any], number: int) -> tuple[str, str | None]:
        found = {row[0]: row for row in client.execute(one_ + read, (number,)).fetchall()}  # type: ignore[arg-type]
        return found["cache"][1], found.get("nearest entry", (None, None, None))[2]

    with psycopg.connect(running.url(), autocommit=True) as client:
        client.execute(read, (1,))
        assert nearest(client, 1) == ("hit", None)
        assert nearest(client, 2) == ("miss", "differs in: parameters, their types or formats")
        client.execute("BEGIN")
        rows_of = {row[0]: row for row in client.execute(one_ + read, (1,)).fetchall()}  # type: ignore[arg-type]
        assert rows_of["transaction"][1] == "lazy"
        client.execute("COMMIT")
        client.execute("SET TimeZone = 'Asia/Tokyo'")
        assert nearest(client, 1) == ("miss", "differs in: settings (timezone)")
    said = subprocess.run(
        [str(PGBEAM), "explain", "--config", running.command[-1], "--user", "app", "SELECT now()"],
        cwd=running.log_path.parent,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert "cacheable" in said
    assert "its result may change from one moment to the next" in said


def test_explaining_waits_for_no_server(clusters: Callable[[int], Cluster], beam: Callable[..., Beam]) -> None:
    """While somebody has the only server, a client that comes then is told at once what would be done, in both
    protocols, in a transaction and outside; of one whose login needs a server SHOW WAITING tells that."""
    pool = {"plugins": {"pool": {"max_active": 1}}}
    running = beam(clusters(18), "transaction", settings={**TOP, **pool}, project={"auth": "trust"})
    with psycopg.connect(running.url()) as holder:
        holder.execute("LOCK TABLE orders")
        for cursor in (psycopg.Cursor, psycopg.ClientCursor):
            for autocommit in (True, False):
                with psycopg.connect(running.url(), autocommit=autocommit, cursor_factory=cursor) as client:
                    text = "/* @pgbeam:explain */ SELECT name FROM products WHERE id = %s"
                    found = {row[0]: row[1] for row in client.execute(text, (1,)).fetchall()}
                    assert (found["class"], found["pool"]) == ("select", "waits")
        with ThreadPoolExecutor(1) as elsewhere:
            coming = elsewhere.submit(psycopg.connect, running.url(database="postgres"))
            _until(lambda: [row["what"] for row in rows(running, "WAITING")] == ["login"])
            (row,) = rows(running, "WAITING")
            assert (row["database"], row["why"]) == ("postgres", "all 1 servers of the project are in use (max_active)")
            holder.rollback()
            coming.result(20).close()


def _work(beam: Beam, number: int) -> None:
    with psycopg.connect(beam.url(), prepare_threshold=None) as client:
        for turn in range(5):
            client.execute("SELECT name FROM products WHERE id = %s", (turn + 1,))
            client.execute("UPDATE orders SET quantity = quantity WHERE id = %s", (number * 5 + turn + 1,))
            client.commit()
    with psycopg.connect(beam.url(), autocommit=True) as client:
        for _ in range(3):
            client.execute("SELECT 1")
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("SELECT 1/0")


def _load(beam: Beam, stop: threading.Event, errors: list[str], done: list[int]) -> None:
    try:
        with psycopg.connect(beam.url()) as client:
            while not stop.is_set():
                client.execute("SELECT name FROM products WHERE id = 1")
                client.execute("UPDATE accounts SET balance = balance WHERE id = 1")
                client.commit()
                done[0] += 1
    except psycopg.Error as error:
        errors.append(str(error))


def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
