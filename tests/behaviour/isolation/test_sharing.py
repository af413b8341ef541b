"""Shared servers with real ones: who waits for whom, and who does not."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgbeam_core.api._bookkeeping import PROVED_BY
from tests.behaviour import frames, loops
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.wireclient import Frame, WireClient, error_fields

pytestmark = pytest.mark.newest

READ = "SELECT name FROM categories WHERE id = {}"
OTHER = "SELECT name FROM users WHERE id = {}"
LARGE_BYTES = 60_000_000


@pytest.fixture
def place(cluster: Cluster, fresh_shop: None, beam: BeamFactory) -> Beam:
    """PgBeam with few servers, on which the two reads have proved small."""
    made = beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 6}}}, witnessed=True)
    deadline = time.monotonic() + 10
    with made.wire() as client:
        for sql in (READ, OTHER):
            before = made.shared_turns()
            while made.shared_turns() == before:  # nothing is shared until the catalog is known
                assert time.monotonic() < deadline
                client.ask(frames.query(sql.format(2)))
    return made


@pytest.fixture
def join(place: Beam) -> Iterator[Callable[[], WireClient]]:
    """Gives clients, which hang up after the test."""
    clients: list[WireClient] = []

    def come() -> WireClient:
        clients.append(place.wire())
        return clients[-1]

    yield come
    for client in clients:
        client.close()


def value(reply: list[Frame]) -> bytes:
    """The first value of the only row, or the SQLSTATE of the error."""
    for frame in reply:
        if frame.tag == b"E":
            return error_fields(frame.body)["C"].encode()
        if frame.tag == b"D":
            size = struct.unpack_from("!i", frame.body, 2)[0]
            return frame.body[6 : 6 + size]
    raise AssertionError(f"no row in {reply}")


# What the debug notice says.


def test_the_notice_says_so(place: Beam) -> None:
    """`shared=true` stands in the notice of a read that was on a shared server, and in no other."""
    with psycopg.connect(place.url(), autocommit=True) as client:
        said: list[str] = []
        client.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        client.execute("SET pgbeam.debug = on")
        plain = ["SELECT name FROM products WHERE id = 1", "SELECT name FROM products WHERE id = %s"]
        for sql in plain:
            for _ in range(3):
                said.clear()
                client.execute(sql, (1,) if "%s" in sql else None)
            assert "shared=true" in said[-1], sql
        own = ["SELECT now()", "SELECT name FROM products WHERE id = 1 FOR UPDATE", "UPDATE users SET name = name"]
        for sql in own:
            for _ in range(3):
                said.clear()
                client.execute(sql)
                assert "shared" not in said[-1], sql
        with client.transaction():
            said.clear()
            client.execute(plain[0])
            assert "shared=true" in said[-1], "in a transaction that is kept back"
            client.execute("SELECT now()")
            client.execute(plain[0])
            assert "shared" not in said[-1], "in a transaction that is real"


def test_the_first_ones_are_alone(cluster: Cluster, fresh_shop: None, shared_beam: BeamFactory) -> None:
    """A shape that nobody has asked for yet proves itself short and small, and is then shared."""
    place = shared_beam(cluster, "transaction")
    with psycopg.connect(place.url(), autocommit=True) as client:
        said: list[str] = []
        client.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        client.execute("SET pgbeam.debug = on")
        deadline = time.monotonic() + 10  # on a machine that is busy with other things nothing is short at first
        while not any("shared=true" in line for line in said) and time.monotonic() < deadline:
            client.execute(f"SELECT email FROM users WHERE id = {len(said)}".encode())
        assert len(said) > PROVED_BY
        assert ["shared=true" in line for line in said] == [False] * (len(said) - 1) + [True]


# Who waits for whom.


def test_a_transaction_beside_reads_that_never_stop(cluster: Cluster, fresh_shop: None, beam: BeamFactory) -> None:
    """64 clients read all the time on two servers: who does transactions does one after another without long waits."""
    two = beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 2}}}, witnessed=True)
    until = time.monotonic() + 3
    longest, done, reads = loops.run(crowd(two.port, until))
    assert longest < 5
    assert done >= 2
    assert reads >= 200
    assert two.shared_turns() >= 50


async def crowd(port: int, until: float) -> tuple[float, int, int]:
    """(the longest wait for a server in seconds, transactions, reads) of 64 readers and one writer until then."""
    reading = [asyncio.create_task(read_on(port, until)) for _ in range(64)]
    longest, done = 0.0, 0
    reader, writer = await connect(port)
    while time.monotonic() < until:
        started = time.monotonic()
        await ask(reader, writer, "BEGIN; UPDATE users SET email = email WHERE id = 1")
        longest = max(longest, time.monotonic() - started)
        await ask(reader, writer, "COMMIT")
        done += 1
    writer.close()
    return longest, done, sum(await asyncio.gather(*reading))


async def read_on(port: int, until: float) -> int:
    """One reader: how often it got what it asked for."""
    reader, writer = await connect(port)
    count = 0
    while time.monotonic() < until:
        number = 1 + count % 5
        assert b"category %d" % number in await ask(reader, writer, READ.format(number))
        count += 1
    writer.close()
    return count


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that has logged in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frames.startup({"user": "app", "database": "shop"}))
    await whole(reader)
    return reader, writer


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sql: str) -> bytes:
    """A simple query and its reply."""
    writer.write(frames.query(sql))
    return await whole(reader)


async def whole(reader: asyncio.StreamReader) -> bytes:
    """Everything up to ReadyForQuery."""
    got = b""
    while True:
        head = await asyncio.wait_for(reader.readexactly(5), 10)
        got += head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
        if head[:1] == b"Z":
            return got


def test_a_lock_holds_up_those_alone_who_want_it(place: Beam, join: Callable[[], WireClient]) -> None:
    """While some clients wait for a locked table, others read another one as ever; in the end all have their rows."""
    waiting, others = [join() for _ in range(2)], [join() for _ in range(6)]
    with place.cluster.connect() as boss:
        boss.execute("BEGIN; LOCK TABLE categories IN ACCESS EXCLUSIVE MODE")
        for client in waiting:
            client.send(frames.query(READ.format(1)))
        time.sleep(0.02)
        for client in others:
            client.send(frames.query(OTHER.format(1)))
        started = time.monotonic()
        for number, client in enumerate(others):
            assert value(client.until(b"Z")) == b"user 1", number
        assert time.monotonic() - started < 5
        for _ in range(20):
            for number, client in enumerate(others):
                assert value(client.ask(frames.query(OTHER.format(number + 1)))) == b"user %d" % (number + 1)
        assert time.monotonic() - started < 10
        boss.execute("ROLLBACK")
    for client in waiting:
        assert value(client.until(b"Z")) == b"category 1"


def test_a_timeout_is_its_clients_own(place: Beam, join: Callable[[], WireClient]) -> None:
    """One client's statement_timeout ends its read of a locked table, and nobody else's."""
    hasty, patient = join(), join()
    hasty.ask(frames.query("SET statement_timeout = '300ms'"))
    for client in (hasty, patient):
        for _ in range(3):
            client.ask(frames.query(READ.format(1)))
    with place.cluster.connect() as boss:
        boss.execute("BEGIN; LOCK TABLE categories IN ACCESS EXCLUSIVE MODE")
        for client in (patient, hasty):
            client.send(frames.query(READ.format(2)))
        assert value(hasty.until(b"Z")) == b"57014"
        boss.execute("ROLLBACK")
    assert value(patient.until(b"Z")) == b"category 2"
    assert value(hasty.ask(frames.query(READ.format(3)))) == b"category 3"


def test_a_large_reply_that_nobody_reads(place: Beam, join: Callable[[], WireClient]) -> None:
    """A read that had proved small grows: its client reads nothing, memory does not grow, and the others go on."""
    slow, *others = [join() for _ in range(5)]
    with place.cluster.connect() as boss:
        boss.execute("CREATE TABLE rows AS SELECT i, repeat('x', 1000) AS x FROM generate_series(1, 60000) i")
        boss.execute("ALTER TABLE rows ADD PRIMARY KEY (i); GRANT SELECT ON rows TO app; ANALYZE rows")
    sql = "SELECT x FROM rows WHERE i < {}"
    for _ in range(2):
        slow.ask(frames.query(sql.format(3)))
    before = place.peak_memory
    slow.send(frames.query(sql.format(60_001)))
    for client in others:
        client.send(frames.query(OTHER.format(1)))
    started = time.monotonic()
    for client in others:
        assert value(client.until(b"Z")) == b"user 1"
    for _ in range(20):
        for client in others:
            client.ask(frames.query(OTHER.format(2)))
    assert time.monotonic() - started < 10
    time.sleep(0.3)
    assert place.peak_memory - before < LARGE_BYTES / 3
    assert sum(frame.tag == b"D" for frame in slow.until(b"Z")) == 60_000


# Prepared once.


def test_a_changed_table_gives_the_right_columns(place: Beam, join: Callable[[], WireClient]) -> None:
    """ALTER TABLE between two executions, from elsewhere: each client gets the columns that there are now."""
    clients = [join() for _ in range(3)]
    request = frames.extended("SELECT * FROM accounts WHERE id = 1") + frames.sync()
    for columns in (2, 3, 4, 3):
        for _ in range(3):
            for client in clients:
                client.send(request)
            for client in clients:
                reply = client.until(b"Z")
                widths = [struct.unpack_from("!h", frame.body)[0] for frame in reply if frame.tag in b"TD"]
                assert widths == [columns] * 2
        change = "DROP COLUMN extra" if columns == 4 else f"ADD COLUMN {'more' if columns == 2 else 'extra'} int"
        with place.cluster.connect() as boss:
            boss.execute(f"ALTER TABLE accounts {change}".encode())


def test_a_bad_value_is_its_clients_own(place: Beam, join: Callable[[], WireClient]) -> None:
    """Three clients have prepared the same: the one whose Bind is wrong gets the error, and nobody else does."""
    clients = [join() for _ in range(3)]
    for client in clients:
        client.ask(frames.parse("SELECT name FROM categories WHERE id = $1", "mine", (23,)) + frames.sync())
    for turn in range(12):
        for number, client in enumerate(clients):
            wanted = b"nonsense" if number == turn % 3 else b"%d" % (number + 1)
            client.send(frames.bind(wanted, statement="mine") + frames.execute() + frames.sync())
        for number, client in enumerate(clients):
            expected = b"22P02" if number == turn % 3 else b"category %d" % (number + 1)
            assert value(client.until(b"Z")) == expected


# Whose server it is.


def test_databases_are_kept_apart(place: Beam, join: Callable[[], WireClient]) -> None:
    """The same texts at the same time in two databases: each client reads its own."""
    with place.cluster.connect() as boss:
        boss.execute("DROP DATABASE IF EXISTS apart")
        boss.execute("CREATE DATABASE apart TEMPLATE template0 OWNER app")
    try:
        with place.cluster.connect(database="apart") as boss:
            boss.execute("CREATE TABLE categories (id int, name text); GRANT SELECT ON categories TO app")
            boss.execute("INSERT INTO categories SELECT i, 'apart ' || i FROM generate_series(1, 5) i")
        here, there = [join() for _ in range(4)], [place.wire(database="apart") for _ in range(4)]
        for number in range(40):
            for client in (*here, *there):
                client.send(frames.query(READ.format(1 + number % 5)))
            for expected, clients in ((b"category", here), (b"apart", there)):
                for client in clients:
                    assert value(client.until(b"Z")) == expected + b" %d" % (1 + number % 5)
        for client in there:
            client.close()
        place.wait_until_idle()
    finally:
        with place.cluster.connect() as boss:
            boss.execute("DROP DATABASE apart WITH (FORCE)")
