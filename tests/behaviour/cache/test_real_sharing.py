"""Processes in front of a real server: the second level, rules by the command line, the catalog."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.behaviour.beams import PGBEAM, Beam
from tests.behaviour.cache.test_real_servers import Client
from tests.behaviour.clusters import Cluster

pytestmark = [pytest.mark.pg, pytest.mark.usefixtures("fresh_shop")]
Start = Callable[[], Beam]


@pytest.fixture
def start(cluster: Cluster, beam: Callable[..., Beam], tmp_path: Path) -> Start:
    """Starts processes that share their state_dir."""
    settings = {"state_dir": str(tmp_path / "s")}
    return lambda: beam(cluster, "transaction", plugins="cache,pool,debug", settings=settings)


@pytest.fixture
def client() -> Iterator[Callable[[Beam], Client]]:
    """Makes clients."""
    clients: list[Client] = []

    def make(beam: Beam, **options: Any) -> Client:
        clients.append(Client(beam, **options))
        return clients[-1]

    yield make
    for each in clients:
        each.connection.close()


def rules(tmp_path: Path, *words: str) -> str:
    """What `pgbeam cache-rules` prints."""
    command = [str(PGBEAM), "cache-rules", "--set", f"state_dir={tmp_path / 's'}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until(found: Callable[[], bool]) -> None:
    """Wait for it, two seconds at most."""
    deadline = time.monotonic() + 2
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_processes_share_replies_and_writes(start: Start, client: Callable[[Beam], Client]) -> None:
    """What one has read the other serves; what one writes the other does not serve any more."""
    sql = "/* @pgbeam:cache maxAge=300 */ SELECT balance FROM accounts WHERE id = 1"
    one, other = client(start()), client(start())
    one.ask(sql)
    until(lambda: other.ask(sql) == [(100,)] and "cache=hit" in other.said)
    for balance in range(5):
        (one if balance % 2 else other).ask("UPDATE accounts SET balance = %s WHERE id = 1", balance)
        assert one.ask(sql) == other.ask(sql) == [(balance,)]


def test_replies_survive_a_restart(
    start: Start, client: Callable[[Beam], Client], cluster: Cluster, tmp_path: Path
) -> None:
    """A new process finds what the old one has kept."""
    sql = "/* @pgbeam:cache maxAge=300 */ SELECT name FROM users ORDER BY id"
    settings = {"state_dir": str(tmp_path / "s")}
    first = Beam(cluster, "transaction", tmp_path, plugins="cache,pool,debug", settings=settings)
    before = client(first)
    rows = before.ask(sql)
    time.sleep(0.5)
    before.connection.close()
    first.stop()
    after = client(start())
    assert after.ask(sql) == rows
    assert "cache=hit" in after.said


def test_rules_cache_what_sqlalchemy_asks(start: Start, tmp_path: Path) -> None:
    """Without a change to the application, in all processes, across a restart."""
    running = [start(), start()]
    for each in running:
        each.wait_for_catalog()

    def average(beam: Beam) -> Any:
        engine = sqlalchemy.create_engine(beam.url().replace("postgresql:", "postgresql+psycopg:"))
        products = sqlalchemy.table("products", sqlalchemy.column("price"))
        query = sqlalchemy.select(sqlalchemy.func.avg(products.c.price))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                return connection.execute(query).scalar_one()
        finally:
            engine.dispose()

    average(running[0])
    (line,) = [line for line in rules(tmp_path, "list").splitlines() if "avg(products.price)" in line]
    query_hash = line.split()[0]
    rules(tmp_path, "set", query_hash, "--ttl", "300")
    time.sleep(1)
    expected = average(running[0])
    with running[0].cluster.connect() as boss:
        boss.execute("UPDATE products SET price = price + 1")
    time.sleep(0.3)
    assert average(running[0]) == average(running[1]) == expected
    assert "ttl=300" in rules(tmp_path, "list")
    rules(tmp_path, "unset", query_hash)
    time.sleep(1)
    assert average(running[0]) == average(running[1]) == expected + 1


def test_rules_cache_what_django_asks(start: Start, tmp_path: Path) -> None:
    """An application of models and querysets is cached by its operator, who reads the list and sets two rules."""
    running = start()

    def page() -> Any:
        program = Path(__file__).with_name("django_shop.py")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
        command = [sys.executable, str(program), running.url()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    before = page()
    listed = rules(tmp_path, "list").splitlines()
    for part in ('max("products"."price")', 'from "categories"'):
        (line,) = [line for line in listed if part in line.lower()]
        rules(tmp_path, "set", line.split()[0], "--ttl", "300")
    assert page() == before
    with running.cluster.connect() as boss:
        boss.execute("UPDATE products SET price = price + 1000; UPDATE categories SET name = upper(name)")
    assert page() == before
    with running.cluster.connect() as boss:
        assert boss.execute("SELECT name FROM categories WHERE id = 1").fetchone() != (before["names"][0],)


def test_the_catalog_widens_reads_and_writes(start: Start, client: Callable[[Beam], Client], cluster: Cluster) -> None:
    """Views, cascades, triggers and functions of the users' own, as the server knows them."""
    with cluster.connect() as boss:
        boss.execute(
            "SET ROLE app; CREATE VIEW rich AS SELECT id FROM accounts WHERE balance > 50;"
            "CREATE TABLE notes (id int REFERENCES accounts ON DELETE CASCADE); INSERT INTO notes VALUES (10);"
            "CREATE TABLE log (id int); CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END$$;"
            "CREATE TRIGGER log AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION log();"
            "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';"
            "CREATE VIEW moment AS SELECT clock_timestamp() AS now"
        )
    running = start()
    reader, writer = client(running), client(running)
    running.wait_for_catalog()
    reader.connection.execute("SET pgbeam.cache = on")

    def count(table: str) -> Any:
        return reader.ask(f"SELECT count(*) FROM {table}")[0][0]

    assert (count("rich"), count("notes"), count("log")) == (10, 1, 0)
    assert (count("rich"), count("notes"), count("log")) == (10, 1, 0)
    assert "cache=hit" in reader.said
    writer.ask("UPDATE accounts SET balance = 1 WHERE id = 1")
    writer.ask("DELETE FROM accounts WHERE id = 10")
    writer.ask("UPDATE users SET name = name WHERE id = 1")
    assert (count("rich"), count("notes"), count("log")) == (8, 0, 1)
    reader.ask("SELECT twice(21)")
    reader.ask("SELECT twice(21)")
    assert "cache=hit" in reader.said
    assert reader.ask("SELECT now FROM moment") != reader.ask("SELECT now FROM moment")
    assert "reason=volatile" in reader.said
