"""The cache in a running PgBeam in front of a real server, seen by real drivers through debug notices."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import pytest

from tests.behaviour import frames, loops
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster

pytestmark = [pytest.mark.pg, pytest.mark.usefixtures("fresh_shop")]
CATEGORIES = "/* @pgbeam:cache maxAge=300 */ SELECT * FROM categories ORDER BY id"


class Client:
    """A psycopg connection that remembers the last query's notices, times and addresses aside."""

    def __init__(self, beam: Beam, **options: Any) -> None:
        self._address = f"127.0.0.1:{beam.cluster.port}"
        self.connection = psycopg.connect(beam.url(**options), autocommit=True)
        self.connection.add_notice_handler(lambda notice: self._heard.append(notice.message_primary or ""))
        self._heard: list[str] = []
        self.connection.execute("SET pgbeam.debug = on")

    def ask(self, sql: str, *parameters: object, **how: Any) -> list[Any]:
        """The rows of a query; its notice is `said`."""
        self._heard.clear()
        cursor = self.connection.execute(sql, parameters or None, **how)
        return cursor.fetchall() if cursor.description else []

    @property
    def said(self) -> str:
        """The notice, without times and whether the server was shared, with SERVER for its address."""
        (notice,) = self._heard
        return re.sub(r" (server_time|waited)=[0-9.]+ms| shared=true", "", notice).replace(self._address, "SERVER")


@pytest.fixture
def client(request: pytest.FixtureRequest, cluster: Cluster, beam: Callable[..., Beam]) -> Any:
    """Makes clients of one PgBeam in transaction mode, or in the mode that the test is parametrized with."""
    running = beam(cluster, getattr(request, "param", "transaction"), plugins="cache,pool,debug")
    running.wait_for_catalog()
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        clients.append(Client(running, **options))
        return clients[-1]

    make.beam = running  # type: ignore[attr-defined]
    yield make
    for each in clients:
        each.connection.close()


MODES = pytest.mark.parametrize("client", ["transaction", "session", "statement"], indirect=True)


@MODES
def test_miss_then_hit(client: Callable[..., Client]) -> None:
    """The second client gets the same rows without the server, in every pool mode."""
    first, second = client(), client()
    rows = first.ask(CATEGORIES)
    assert first.said == "pgbeam: cache=miss upstream=SERVER"
    assert second.ask(CATEGORIES) == rows
    assert second.said == "pgbeam: cache=hit age=0s ttl=300s swr=30s"
    assert second.ask(CATEGORIES.replace("SELECT *", "select  * /* all */"), prepare=True) == rows
    assert second.said == "pgbeam: cache=hit age=0s ttl=300s swr=30s"


def test_stale_then_fresh(client: Callable[..., Client]) -> None:
    """After its TTL a reply is served once more while it is refreshed."""
    sql = "/* @pgbeam:cache maxAge=1 swr=60 */ SELECT name FROM users WHERE id = %s"
    reader = client()
    reader.ask(sql, 1)
    time.sleep(1.1)
    assert reader.ask(sql, 1) == [("user 1",)]
    assert reader.said == "pgbeam: cache=stale age=1s ttl=1s swr=60s"
    deadline = time.monotonic() + 5
    while reader.said != "pgbeam: cache=hit age=0s ttl=1s swr=60s" and time.monotonic() < deadline:
        time.sleep(0.02)
        assert reader.ask(sql, 1) == [("user 1",)]
    assert reader.said == "pgbeam: cache=hit age=0s ttl=1s swr=60s"


def test_bypasses_say_why(client: Callable[..., Client]) -> None:
    """Each with its reason and the server that was asked."""
    reader = client()
    reader.ask("SELECT * FROM users")
    assert reader.said == "pgbeam: cache=bypass reason=off upstream=SERVER"
    reader.connection.execute("SET pgbeam.cache = on")
    for sql, reason in [
        ("SELECT now()", "volatile"),
        ("SELECT * FROM users FOR UPDATE", "locking"),
        ("SELECT * FROM pg_class", "catalog"),
        ("UPDATE users SET name = name", "write"),
        ("/* @pgbeam:cache noCache */ SELECT * FROM users", "annotation"),
    ]:
        reader.ask(sql)
        assert reader.said == f"pgbeam: cache=bypass reason={reason} upstream=SERVER"
    reader.ask("SELECT * FROM users")
    assert reader.said == "pgbeam: cache=miss upstream=SERVER"
    with reader.connection.transaction():
        reader.ask("SELECT * FROM users")
        assert reader.said == "pgbeam: cache=hit age=0s ttl=60s swr=30s transaction=lazy"
        reader.ask("SELECT now()")
        reader.ask("SELECT * FROM users")
        assert reader.said == "pgbeam: cache=bypass reason=transaction upstream=SERVER"
    reader.connection.execute("SET pgbeam.cache = off")
    reader.ask("SELECT * FROM users")
    assert reader.said == "pgbeam: cache=bypass reason=session upstream=SERVER"


def test_a_temporary_table_is_not_for_others(client: Callable[..., Client]) -> None:
    """It hides the table of the same name for its session alone."""
    owner, other = client(), client()
    owner.connection.execute("CREATE TEMP TABLE categories (secret text)")
    owner.ask(CATEGORIES.replace(" ORDER BY id", ""))
    assert owner.said == "pgbeam: cache=bypass reason=state upstream=SERVER pinned=temp_table"
    assert len(other.ask(CATEGORIES.replace(" ORDER BY id", ""))) == 5


@MODES
def test_own_writes_and_those_of_others_are_seen(client: Callable[..., Client]) -> None:
    """The moment a write is committed nobody gets what was read before."""
    sql = "/* @pgbeam:cache */ SELECT balance FROM accounts WHERE id = 1"
    reader, writer = client(), client()
    deadline = time.monotonic() + 10
    while not (
        reader.ask(sql) and "cache=hit" in reader.said
    ):  # until the catalog is known, a write may be of anything
        assert time.monotonic() < deadline
    for balance in (1, 2, 3):
        writer.connection.execute("UPDATE accounts SET balance = %s WHERE id = 1", (balance,))
        assert writer.ask(sql) == reader.ask(sql) == [(balance,)]
        assert reader.said == "pgbeam: cache=hit age=0s ttl=60s swr=30s"


def test_a_rolled_back_write_leaves_the_cache_alone(client: Callable[..., Client]) -> None:
    """And until a commit the others are served from the cache."""
    sql = "/* @pgbeam:cache */ SELECT balance FROM accounts WHERE id = 1"
    reader, writer = client(), client()
    reader.ask(sql)
    for end, heard in (("ROLLBACK", "cache=hit"), ("COMMIT", "cache=miss")):
        writer.connection.execute("BEGIN")
        writer.connection.execute("UPDATE accounts SET balance = 7 WHERE id = 1")
        assert reader.ask(sql) == [(100,)]
        assert "cache=hit" in reader.said
        writer.connection.execute(end)
        reader.ask(sql)
        assert heard in reader.said
    assert reader.ask(sql) == [(7,)]


def test_settings_and_roles_are_apart(client: Callable[..., Client]) -> None:
    """Same text, another time zone, another role: another reply."""
    sql = "/* @pgbeam:cache */ SELECT timestamptz '2024-01-01 00:00:00+00'::text"
    utc, tokyo = client(), client()
    tokyo.connection.execute("SET TimeZone = 'Asia/Tokyo'")
    assert utc.ask(sql) == [("2024-01-01 00:00:00+00",)]
    assert tokyo.ask(sql) == [("2024-01-01 09:00:00+09",)]
    started = client(options="-c TimeZone=Asia/Tokyo")
    assert started.ask(sql) == [("2024-01-01 09:00:00+09",)]
    assert "cache=miss" in started.said
    boss = client(user="boss")
    boss.ask(sql)
    assert "cache=miss" in boss.said
    boss.connection.execute("SET ROLE app")
    boss.ask(sql)
    assert "cache=miss" in boss.said


def test_asyncpg_hits_from_its_second_execution_on(client: Any) -> None:
    """The first has its columns from the Flush behind its Parse; all are binary and ask for no description."""
    sql = "/* @pgbeam:cache */ SELECT id, price, active FROM products WHERE id = ANY($1) ORDER BY id"

    async def work() -> list[str]:
        heard: list[str] = []
        conn = await asyncpg.connect(client.beam.url())
        conn.add_log_listener(lambda _, notice: heard.append(notice.message))
        await conn.fetch("SELECT id, price, active FROM products WHERE id = ANY($1)", [1])  # learns the types
        await conn.execute("SET pgbeam.debug = on")
        fetched = [await conn.fetch(sql, [1, 2]) for _ in range(4)]
        assert fetched == [fetched[0]] * 4
        await asyncio.sleep(0.05)
        await conn.close()
        return heard

    heard = loops.run(work())
    assert "cache=miss" in heard[0]
    assert heard[1:] == ["pgbeam: cache=hit age=0s ttl=60s swr=30s"] * 3


@pytest.mark.parametrize(
    "request_bytes",
    [
        frames.query(CATEGORIES),
        frames.extended(CATEGORIES) + frames.sync(),
        frames.parse(CATEGORIES) + frames.bind() + frames.execute() + frames.sync(),
        frames.parse(CATEGORIES, "named")
        + frames.bind(statement="named", results=[1])
        + frames.describe()
        + frames.execute()
        + frames.close("named")
        + frames.sync(),
    ],
    ids=["simple", "extended", "undescribed", "binary"],
)
def test_a_hit_is_the_servers_reply_byte_for_byte(client: Any, request_bytes: bytes) -> None:
    """Whatever the request looks like, miss and hit cannot be told apart."""
    with client.beam.wire() as wire:
        first = wire.ask(request_bytes)
        assert wire.ask(request_bytes) == first


def test_an_error_is_an_error_each_time(client: Callable[..., Client]) -> None:
    """Errors are not kept."""
    reader = client()
    for _ in range(2):
        with pytest.raises(psycopg.errors.DivisionByZero):
            reader.ask("/* @pgbeam:cache */ SELECT 1 / 0")
        assert reader.said == "pgbeam: cache=miss upstream=SERVER"


def test_many_clients_that_miss_at_once_ask_once(client: Any) -> None:
    """Fifty clients, one slow query, one of them went to the server."""
    sql = "/* @pgbeam:cache */ SELECT count(*) FROM generate_series(1, 3000000)"

    async def one(heard: list[str]) -> None:
        async with await psycopg.AsyncConnection.connect(client.beam.url(), autocommit=True) as conn:
            conn.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
            await conn.execute("SET pgbeam.debug = on")
            cursor = await conn.execute(sql)
            assert await cursor.fetchall() == [(3000000,)]

    async def work() -> list[str]:
        heard: list[str] = []
        await asyncio.gather(*(one(heard) for _ in range(50)))
        return heard

    heard = loops.run(work())
    assert len(heard) == 50
    assert sum("cache=miss" in line for line in heard) == 1


def test_a_hit_needs_no_server_and_stale_replies_outlive_it(client: Any, cluster: Cluster) -> None:
    """With the server gone, what is inside its TTL or SWR window is still served; the rest is 08006 or 57P01."""
    sql = "/* @pgbeam:cache maxAge=1 swr=300 */ SELECT count(*) FROM users"
    reader = client()
    reader.connection.prepare_threshold = None  # a Parse of its own would need a server
    reader.ask(sql)
    cluster.crash()
    try:
        time.sleep(1.1)
        for _ in range(5):
            assert reader.ask(sql) == [(20,)]
            assert "cache=stale" in reader.said
            with pytest.raises(psycopg.OperationalError):
                reader.ask("SELECT count(*) FROM orders")
    finally:
        cluster.revive()
