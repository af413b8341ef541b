"""Each limit, as psycopg and asyncpg tell it by the class of their error, and what the session is afterwards."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import psycopg
import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, Cluster
from tests.behaviour.loops import run
from tests.net.certificates import Files

pytestmark = pytest.mark.pg

LOGIN_TIMEOUT_S = 1.0
ADDRESS = "203.0.113.9"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates."""
    return Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def beam(clusters: Callable[[int], Cluster], files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beam]:
    """A project for each limit."""
    cluster = clusters(15)
    upstream = f"postgresql://127.0.0.1:{cluster.port}/{DATABASE}"
    limits: dict[str, dict[str, Any]] = {
        "networks": {"allowed_cidrs": ["10.0.0.0/8 office", "2001:db8::/32"]},
        "clients": {"max_connections": 1},
        "users": {"max_connections_per_user": 1},
        "databases": {"max_connections_per_database": 1},
        "at-once": {"max_concurrent_queries": 1},
    }
    more: dict[str, dict[str, Any]] = {name: {"upstream": upstream} for name in limits}
    for name in ("psycopg", "asyncpg"):  # a burst for each
        limits[f"rate-{name}"] = limits[f"eager-{name}"] = {"queries_per_second": 0.01, "burst": 5}
        limits[f"own-{name}"] = {"queries_per_second_per_user": 0.01, "burst_per_user": 5}
        for kind, lazy in (("rate", "reads"), ("eager", "off"), ("own", "reads")):
            more[f"{kind}-{name}"] = {"upstream": upstream, "lazy_transactions": lazy}
    more["times"] = {
        "upstream": upstream,
        "query_timeout_ms": 300,
        "idle_transaction_timeout_ms": 400,
        "transaction_timeout_ms": 800,
        "client_idle_timeout_s": 1.0,
    }
    running = Beam(
        cluster,
        "transaction",
        tmp_path_factory.mktemp("beam"),
        settings={
            "tls": files.settings(),
            "login_timeout_s": LOGIN_TIMEOUT_S,
            "max_query_bytes": 2000,
            "max_message_bytes": 100_000,
            "plugins": {"limits": {"auth_attempts": 0, "projects": limits}},
        },
        more_projects=more,
    )
    yield running
    running.stop()


@pytest.fixture
def beam_of_its_own(tmp_path: Path) -> Iterator[Callable[..., Beam]]:
    """For one test."""
    running: list[Beam] = []

    def start(*arguments: Any, **more: Any) -> Beam:
        running.append(Beam(*arguments, tmp_path, **more))
        return running[-1]

    yield start
    for one in running:
        one.stop()


class Driver:
    """One client of one driver, and the names that it has for errors."""

    def __init__(self, beam: Beam) -> None:
        self.beam = beam

    def connect(self, project: str, user: str = "app") -> Any:
        raise NotImplementedError

    def execute(self, client: Any, text: str) -> Any:
        raise NotImplementedError

    def close(self, client: Any) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Nobody needs it any more."""


class Psycopg(Driver):
    """Connecting has one class for all errors."""

    errors: ClassVar = {
        "25P02": psycopg.errors.InFailedSqlTransaction,
        "53400": psycopg.errors.ConfigurationLimitExceeded,
        "54000": psycopg.errors.ProgramLimitExceeded,
        "57014": psycopg.errors.QueryCanceled,
        "25P03": psycopg.errors.IdleInTransactionSessionTimeout,
        "25P04": psycopg.errors.TransactionTimeout,
        "57P05": psycopg.errors.IdleSessionTimeout,
        "08004": psycopg.OperationalError,
        "53300": psycopg.OperationalError,
    }

    def connect(self, project: str, user: str = "app") -> Any:
        return psycopg.connect(
            host="127.0.0.1", port=self.beam.port, user=user, dbname=DATABASE, options=f"project={project}",
            autocommit=True, connect_timeout=10, sslmode="disable", prepare_threshold=None,
        )  # fmt: skip

    def execute(self, client: Any, text: str) -> Any:
        return client.execute(text)

    def close(self, client: Any) -> None:
        client.close()


class Asyncpg(Driver):
    """A class for each."""

    errors: ClassVar = {
        "25P02": asyncpg.InFailedSQLTransactionError,
        "53400": asyncpg.ConfigurationLimitExceededError,
        "54000": asyncpg.ProgramLimitExceededError,
        "57014": asyncpg.QueryCanceledError,
        "25P03": asyncpg.IdleInTransactionSessionTimeoutError,
        "25P04": asyncpg.PostgresError,
        "57P05": asyncpg.IdleSessionTimeoutError,
        "08004": asyncpg.ConnectionRejectionError,
        "53300": asyncpg.TooManyConnectionsError,
    }

    def __init__(self, beam: Beam) -> None:
        super().__init__(beam)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def connect(self, project: str, user: str = "app") -> Any:
        return self._run(
            asyncpg.connect(
                host="127.0.0.1", port=self.beam.port, user=user, database=DATABASE, ssl=False,
                server_settings={"options": f"project={project}"}, timeout=10,
            )
        )  # fmt: skip

    def execute(self, client: Any, text: str) -> Any:
        return self._run(client.execute(text))

    def close(self, client: Any) -> None:
        self._loop.call_soon_threadsafe(client.terminate)

    def stop(self) -> None:
        self._run(asyncio.sleep(0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(params=[Psycopg, Asyncpg], ids=["psycopg", "asyncpg"])
def driver(request: pytest.FixtureRequest, beam: Beam) -> Iterator[Any]:
    """Each of them."""
    made = request.param(beam)
    yield made
    made.stop()


@pytest.mark.parametrize(
    ("project", "sqlstate", "said"),
    [
        ("networks", "08004", "connection rejected: IP not in allowlist"),
        ("clients", "53300", "too many connections for project"),
        ("users", "53300", 'too many connections for role "app"'),
        ("databases", "53300", 'too many connections for database "shop"'),
        ("nope", "08004", 'project "nope" not found'),
    ],
)
def test_who_may_not_connect(driver: Any, project: str, sqlstate: str, said: str) -> None:
    """By the class of the error, and in words; whoever was there first goes on."""
    first = None if sqlstate == "08004" else driver.connect(project)
    with pytest.raises(driver.errors[sqlstate], match=said):
        driver.connect(project)
    if first is not None:
        driver.execute(first, "SELECT 1")
        driver.close(first)
        if project == "users":
            driver.close(driver.connect(project, "boss"))
    deadline = time.monotonic() + 10
    while first is not None:  # there is room when PgBeam has noticed
        try:
            driver.close(driver.connect(project))
            break
        except driver.errors[sqlstate]:
            assert time.monotonic() < deadline


@pytest.mark.parametrize("project", ["rate", "eager", "own"])
def test_too_many_queries_a_second_in_a_transaction(driver: Any, project: str) -> None:
    """53400 fails the transaction as an error of PostgreSQL's would: 25P02, until ROLLBACK, which is never refused."""
    client = driver.connect(f"{project}-{type(driver).__name__.lower()}")
    refused, failed = driver.errors["53400"], driver.errors["25P02"]
    driver.execute(client, "BEGIN")
    with pytest.raises(refused, match="query rate limit exceeded"):
        for _ in range(10):
            driver.execute(client, "SELECT pg_backend_pid()")
    for _ in range(2):
        with pytest.raises(failed):
            driver.execute(client, "SELECT pg_backend_pid()")
    driver.execute(client, "ROLLBACK")
    with pytest.raises(refused):
        driver.execute(client, "SELECT pg_backend_pid()")
    driver.close(client)


def test_too_many_queries_at_once(beam: Beam) -> None:
    """The one that runs goes on, the other is refused, and has its turn afterwards."""

    async def at_once() -> None:
        one, other = [
            await asyncpg.connect(
                host="127.0.0.1", port=beam.port, user="app", database=DATABASE, ssl=False,
                server_settings={"options": "project=at-once"},
            )
            for _ in range(2)
        ]  # fmt: skip
        slow = asyncio.ensure_future(one.fetchval("SELECT 1 FROM pg_sleep(1)"))
        await asyncio.sleep(0.3)
        with pytest.raises(asyncpg.ConfigurationLimitExceededError, match="concurrent query limit exceeded"):
            await other.fetchval("SELECT pg_backend_pid()")
        assert await slow == 1
        await other.fetchval("SELECT pg_backend_pid()")
        one.terminate()
        other.terminate()

    run(asyncio.wait_for(at_once(), 30))


def test_times_of_a_statement_and_of_a_transaction(driver: Any) -> None:
    """57014 for a statement; 25P03, 25P04 and 57P05 end the session, with a class that applications can name."""
    client = driver.connect("times")
    with pytest.raises(driver.errors["57014"], match="statement timeout"):
        driver.execute(client, "SELECT pg_sleep(10)")
    driver.execute(client, "BEGIN")
    driver.execute(client, "SELECT pg_current_xact_id()")
    with pytest.raises(driver.errors["25P04"], match="transaction timeout"):
        for _ in range(50):
            driver.execute(client, "SELECT pg_sleep(0.1)")
    driver.close(client)


def test_long_texts_and_long_messages(driver: Any) -> None:
    """54000: the session goes on after a long text; what is too long for a message ends it."""
    client = driver.connect("shop")
    with pytest.raises(driver.errors["54000"], match=r"query is too long \(\d+ bytes, max 2000 bytes\)"):
        driver.execute(client, "SELECT '" + "x" * 3000 + "'")
    driver.execute(client, "SELECT 1")
    if isinstance(driver, Psycopg):  # asyncpg says that the connection is closed, and gives this as the cause
        with pytest.raises(driver.errors["54000"], match=r"message of \d+ bytes is too large"):
            driver.execute(client, "SELECT '" + "x" * 200_000 + "'")
    driver.close(client)
    driver.close(driver.connect("shop"))


@pytest.mark.slow
def test_users_share_servers_by_their_weights(clusters: Callable[[int], Cluster], beam_of_its_own: Any) -> None:
    """With more clients than servers, a user of weight 3 has three times the turns of one of weight 1."""
    pool = {"max_active": 4, "weights": {"app": 3}, "wait_timeout_s": 60}
    there = beam_of_its_own(clusters(15), "transaction", settings={"plugins": {"pool": pool}})
    done = {"app": 0, "boss": 0}

    async def flood(user: str) -> None:
        client = await asyncpg.connect(there.url(user), ssl=False)
        while sum(done.values()) < 800:
            await client.fetchval("SELECT pg_sleep(0.02)")
            done[user] += 1
        client.terminate()

    async def floods() -> None:
        await asyncio.gather(*(flood(user) for user in done for _ in range(16)))

    run(asyncio.wait_for(floods(), 60))
    assert 2 < done["app"] / done["boss"] < 5


# Who is slow on purpose.


def drip(beam: Beam, data: bytes, *, first: bytes = b"", answered: bytes = b"") -> None:
    """Send a byte ten times a second, until PgBeam hangs up."""
    with socket.create_connection(("127.0.0.1", beam.port), 10) as client:
        if first:
            client.sendall(first)
            got = b""
            while not got.startswith(answered) or not got:
                got += client.recv(1000)
        client.settimeout(0.1)
        for byte in (data * 100)[:300]:
            try:
                client.sendall(bytes([byte]))
                while True:
                    if not client.recv(1000):
                        return
            except TimeoutError:
                continue
            except OSError:
                return
    raise AssertionError("nobody has hung up")


def hello() -> bytes:
    """The first words of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("where", ["startup", "handshake", "direct", "password"])
def test_a_byte_now_and_then(beam: Beam, where: str) -> None:
    """A client that takes its time is sent away after login_timeout_s, wherever it is in its login; no task is left."""
    before = beam.descriptors()
    startup = frames.startup(
        {"user": "with_scram", "database": DATABASE, "options": "project=shop"}, frames.PROTOCOL_3_0
    )
    if where == "startup":
        drip(beam, startup[:-1])
    elif where == "handshake":
        drip(beam, hello()[:-1], first=frames.SSL_REQUEST, answered=b"S")
    elif where == "direct":
        drip(beam, hello()[:-1])
    else:
        drip(beam, b"p\0\0\1\0" + b"SCRAM-SHA-256\0" + b"x" * 200, first=startup, answered=b"R")
    deadline = time.monotonic() + 10
    while beam.descriptors() > before + 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("address", "said"), [("203.0.113.9", ""), ("198.51.100.9", "not in allowlist"), ("2001:db8::7", "")]
)
def test_who_is_behind_a_load_balancer(
    clusters: Callable[[int], Cluster], shared_beam: Any, version: int, address: str, said: str
) -> None:
    """The address that a header of either version tells is the one that the allowlist is about."""
    settings = {
        "proxy_protocol": True,
        "proxy_trusted": ["127.0.0.2/32"],
        "plugins": {"limits": {"allowed_cidrs": ["203.0.113.0/24", "2001:db8::/32"], "auth_attempts": 0}},
    }
    there = shared_beam(clusters(15), "transaction", settings=settings)
    header = told(version, address)
    with socket.socket() as client:
        client.settimeout(10)
        client.bind(("127.0.0.2", 0))
        client.connect(("127.0.0.1", there.port))
        client.sendall(header + frames.startup({"user": "app", "database": DATABASE}, frames.PROTOCOL_3_0))
        got = client.recv(10000)
        assert (said.encode() in got) if said else got.startswith(b"R\0\0\0\x08\0\0\0\0")


def test_who_is_no_load_balancer_cannot_pretend(clusters: Callable[[int], Cluster], shared_beam: Any) -> None:
    """A header from elsewhere is no startup packet."""
    settings = {
        "proxy_protocol": True,
        "proxy_trusted": ["127.0.0.2/32"],
        "plugins": {"limits": {"allowed_cidrs": ["203.0.113.0/24", "2001:db8::/32"], "auth_attempts": 0}},
    }
    there = shared_beam(clusters(15), "transaction", settings=settings)
    for version in (1, 2):
        with socket.create_connection(("127.0.0.1", there.port), 10) as client:
            client.sendall(told(version, ADDRESS))
            got = client.recv(10000)
            assert not got.startswith(b"R")


def told(version: int, address: str) -> bytes:
    """The header."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if version == 1:
        kind = "TCP6" if ":" in address else "TCP4"
        here = "::1" if ":" in address else "127.0.0.1"
        return f"PROXY {kind} {address} {here} 40000 5432\r\n".encode()
    packed = socket.inet_pton(family, address)
    body = packed + packed + (40000).to_bytes(2, "big") + (5432).to_bytes(2, "big")
    kind_byte = b"\x21" if family == socket.AF_INET6 else b"\x11"
    return b"\r\n\r\n\0\r\nQUIT\n\x21" + kind_byte + len(body).to_bytes(2, "big") + body
