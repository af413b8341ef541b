"""Real clients through TLS, unix sockets and load balancers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest

from tests.behaviour import loops
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, Cluster
from tests.net.certificates import Files

pytestmark = pytest.mark.pg


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates."""
    return Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def cluster(clusters: Callable[[int], Cluster]) -> Cluster:
    """One version will do: it sees no difference."""
    return clusters(15)


@pytest.fixture(scope="module", params=[1, 2], ids=["alone", "workers"])
def beam(
    request: pytest.FixtureRequest, cluster: Cluster, files: Files, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Beam]:
    """Two projects, TLS, a unix socket, and a trusted load balancer there."""
    upstream = f"postgresql://127.0.0.1:{cluster.port}/{DATABASE}"
    blog = {
        "upstream": upstream,
        "hostnames": ["blog.example.com"],
        "databases": {"reports": {"database": DATABASE, "parameters": {"work_mem": "7MB"}}},
    }
    with tempfile.TemporaryDirectory(prefix="pgb") as folder:
        settings = {
            "tls": files.settings(client_ca=files["ca.crt"]),
            "projects": {"blog": blog},
            "workers": request.param,
            "state_dir": f"{folder}/state",
        }
        running = Beam(
            cluster,
            "transaction",
            tmp_path_factory.mktemp("beam"),
            settings=settings,
            project={"default": True, "hostnames": ["shop.example.com"]},
            folder_of_sockets=folder,
        )
        yield running
        running.stop()


def libpq(beam: Beam, **more: str) -> str:
    """A connection string."""
    parts = {"host": "localhost", "port": str(beam.port), "user": "app", "dbname": DATABASE, **more}
    return " ".join(f"{key}='{value}'" for key, value in parts.items())


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_libpq_with_each_sslmode(beam: Beam, files: Files, mode: str, driver: str) -> None:
    """psycopg and psycopg2 are encrypted exactly where their sslmode says so."""
    connect: Any = psycopg.connect if driver == "psycopg" else psycopg2.connect
    client = connect(libpq(beam, sslmode=mode, sslrootcert=files["ca.crt"]))
    cursor = client.cursor()
    cursor.execute("SELECT count(*) FROM products")
    assert cursor.fetchone() == (100,)
    if driver == "psycopg2":
        assert client.info.ssl_in_use is (mode not in ("disable", "allow"))
    client.close()


@pytest.mark.parametrize("binding", ["disable", "prefer"])
@pytest.mark.parametrize("negotiation", ["postgres", "direct"])
def test_psycopg_asks_for_tls_or_begins_with_it(beam: Beam, files: Files, negotiation: str, binding: str) -> None:
    """Both ways of libpq 17, with a certificate of its own and without."""
    if negotiation == "direct" and psycopg.pq.version() < 170000:
        pytest.skip("this libpq knows no sslnegotiation")
    more = {"sslmode": "verify-full", "sslrootcert": files["ca.crt"], "channel_binding": binding}
    if psycopg.pq.version() >= 170000:
        more["sslnegotiation"] = negotiation
    for own in ({}, {"sslcert": files["client.crt"], "sslkey": files["client.key"]}):
        with psycopg.connect(libpq(beam, **more, **own)) as client:
            assert client.execute("SELECT %s::int", [7]).fetchone() == (7,)


def test_psql_says_that_it_is_encrypted(beam: Beam, files: Files) -> None:
    """What people look at."""
    psql = beam.cluster.installation.program("psql")
    command = [psql, "-X", libpq(beam, sslmode="verify-full", sslrootcert=files["ca.crt"]), "-c", r"\conninfo"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    assert "protocol: TLSv1.3" in said.stdout


def context(files: Files) -> ssl.SSLContext:
    """For asyncpg."""
    return ssl.create_default_context(cafile=files["ca.crt"])


def test_asyncpg_streams_both_ways(beam: Beam, files: Files) -> None:
    """Large texts and results, many queries at once, COPY in and out."""

    async def run() -> None:
        client = await asyncpg.connect(beam.url().replace("127.0.0.1", "localhost"), ssl=context(files))
        text = "x" * 3_000_000
        assert await client.fetchval("SELECT $1::text || 'y'", text) == text + "y"
        assert len(await client.fetch("SELECT repeat('z', 1000) FROM generate_series(1, 5000)")) == 5000
        await client.execute("CREATE TEMP TABLE t (a text)")
        await client.copy_records_to_table("t", records=[("w" * 1000,)] * 5000)
        assert await client.fetchval("SELECT sum(length(a)) FROM t") == 5_000_000
        await client.close()
        clients = await asyncio.gather(
            *(asyncpg.connect(beam.url().replace("127.0.0.1", "localhost"), ssl=context(files)) for _ in range(20))
        )
        rows = await asyncio.gather(*(client.fetchval("SELECT $1::int", n) for n, client in enumerate(clients)))
        assert rows == list(range(20))
        await asyncio.gather(*(client.close() for client in clients))

    loops.run(asyncio.wait_for(run(), 60))


def test_a_client_that_does_not_read_holds_up_its_server_and_no_memory(beam: Beam, files: Files) -> None:
    """Backpressure works through TLS: what is not read stays in PostgreSQL."""
    if beam.workers():
        pytest.skip("the memory is that of one process")
    before = beam.peak_memory
    sent = 200_000_000
    with psycopg.connect(libpq(beam, sslmode="require")) as client:
        client.pgconn.send_query(f"SELECT repeat('x', 1000000) FROM generate_series(1, {sent // 1_000_000})".encode())
        client.pgconn.flush()
        time.sleep(0.5)
        assert beam.peak_memory - before < 60_000_000
        client.pgconn.set_single_row_mode()
        rows = 0
        while (result := client.pgconn.get_result()) is not None:
            rows += result.ntuples
        assert rows == sent // 1_000_000
    assert beam.peak_memory - before < 60_000_000


def test_a_query_is_cancelled_through_tls(beam: Beam) -> None:
    """Ctrl-C in psql, timeouts in applications."""
    with psycopg.connect(libpq(beam, sslmode="require"), autocommit=True) as client:
        timer = threading.Timer(0.3, client.cancel_safe if hasattr(client, "cancel_safe") else client.cancel)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(20)")
        timer.join()
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_an_alias_is_found_without_a_host_name(beam: Beam) -> None:
    """By the database alone, from any project that has it; by its options, from the project that they name."""
    for options in ("", "project=blog"):
        with psycopg.connect(libpq(beam, options=options, dbname="reports")) as client:
            row = client.execute("SELECT current_database(), current_setting('work_mem')").fetchone()
            assert row == (DATABASE, "7MB")
    with pytest.raises(psycopg.OperationalError, match='database "reports" does not exist'):
        psycopg.connect(libpq(beam, options="project=shop", dbname="reports"))
    with pytest.raises(psycopg.OperationalError, match='project "nope" not found'):
        psycopg.connect(libpq(beam, options="project=nope"))


@pytest.mark.parametrize(("hostname", "found"), [("blog.example.com", True), ("shop.example.com", False)])
def test_the_host_name_chooses_the_project(beam: Beam, files: Files, hostname: str, found: bool) -> None:
    """As libpq's SNI has it: hostaddr says where, host says what for."""
    where = libpq(
        beam, host=hostname, hostaddr="127.0.0.1", dbname="reports", sslmode="verify-full", sslrootcert=files["ca.crt"]
    )
    if found:
        with psycopg.connect(where) as client:
            assert client.execute("SELECT current_database()").fetchone() == (DATABASE,)
    else:
        with pytest.raises(psycopg.OperationalError, match='database "reports" does not exist'):
            psycopg.connect(where)


def test_a_unix_socket_is_found_by_psql(beam: Beam) -> None:
    """As that of PostgreSQL: by its folder and the port."""
    psql = beam.cluster.installation.program("psql")
    command = [
        psql,
        "-X",
        "-h",
        str(beam.folder_of_sockets),
        "-p",
        "6432",
        "-U",
        "app",
        DATABASE,
        "-Atc",
        "SELECT 41 + 1",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20)
    assert said.stdout == "42\n"
    with psycopg.connect(
        f"host={beam.folder_of_sockets} port=6432 user=app dbname={DATABASE} sslmode=prefer"
    ) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_certificates_are_renewed_under_running_clients(beam: Beam, files: Files, tmp_path: Path) -> None:
    """SIGHUP: who is connected notices nothing, who comes gets the new one; a broken file changes nothing."""
    old = {name: Path(files[name]).read_bytes() for name in ("server.crt", "server.key")}
    with psycopg.connect(libpq(beam, sslmode="require"), autocommit=True) as before:
        try:
            stranger = Files(tmp_path)
            for name in old:
                Path(files[name]).write_bytes(Path(stranger[name]).read_bytes())
            reload(beam, "settings reloaded")
            assert before.execute("SELECT 1").fetchone() == (1,)
            psycopg.connect(libpq(beam, sslmode="verify-full", sslrootcert=stranger["ca.crt"])).close()
            with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
                psycopg.connect(libpq(beam, sslmode="verify-full", sslrootcert=files["ca.crt"]))
            Path(files["server.key"]).write_bytes(old["server.key"])
            reload(beam, "the key does not belong to the certificate")
            psycopg.connect(libpq(beam, sslmode="verify-full", sslrootcert=stranger["ca.crt"])).close()
        finally:
            for name, data in old.items():
                Path(files[name]).write_bytes(data)
        reload(beam, "settings reloaded")
        psycopg.connect(libpq(beam, sslmode="verify-full", sslrootcert=files["ca.crt"])).close()
        assert before.execute("SELECT 1").fetchone() == (1,)


def reload(beam: Beam, words: str) -> None:
    """SIGHUP, until the log says so; each worker for itself."""
    wanted = beam.log.count(words) + max(1, len(beam.workers()) if words == "settings reloaded" else 1)
    beam.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 15
    while beam.log.count(words) < wanted:
        assert time.monotonic() < deadline, beam.log[-2000:]
        time.sleep(0.02)


def test_node_postgres_through_tls(beam: Beam, files: Files, node: Path) -> None:
    """node-postgres with a CA of one's own, and with an unchecked certificate."""
    script = node / "tls.js"
    script.write_text(
        "const {Client} = require('pg'); const fs = require('fs');"
        "(async () => { for (const ssl of [{ca: fs.readFileSync(process.argv[2])}, {rejectUnauthorized: false}]) {"
        "const c = new Client({connectionString: process.env.DATABASE_URL, ssl}); await c.connect();"
        "const r = await c.query('SELECT $1::int + 1 AS a', [41]); if (r.rows[0].a !== 42) process.exit(2);"
        "await c.end(); } })().catch(e => { console.error(e); process.exit(1); });"
    )
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": beam.url().replace("127.0.0.1", "localhost")}
    command = ["node", "tls.js", files["ca.crt"]]
    done = subprocess.run(command, check=False, cwd=node, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def balancer(port: int, address: str) -> Iterator[int]:
    """Something that passes connections on to that port, and says that they come from that address; its own port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_balance, args=(listening, port, address), daemon=True).start()
        yield listening.getsockname()[1]


def _balance(listening: socket.socket, port: int, address: str) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        server.sendall(f"PROXY TCP4 {address} 127.0.0.1 40000 {port}\r\n".encode())
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_a_load_balancer_tells_whom_it_connects_for(cluster: Cluster, files: Files, tmp_path: Path) -> None:
    """The allowlist looks at the client behind it, in front of TLS as well."""
    settings = {
        "tls": files.settings(),
        "proxy_protocol": True,
        "proxy_trusted": ["127.0.0.0/8"],
        "plugins": {"limits": {"allowed_cidrs": ["203.0.113.0/24"]}},
    }
    beam = Beam(cluster, "transaction", tmp_path, settings=settings)
    try:
        for address, words in (("203.0.113.9", ""), ("198.51.100.9", "connection rejected: IP not in allowlist")):
            with balancer(beam.port, address) as port:
                where = f"postgresql://app@127.0.0.1:{port}/{DATABASE}?sslmode=require"
                if words:
                    with pytest.raises(psycopg.OperationalError, match=words):
                        psycopg.connect(where)
                else:
                    psycopg.connect(where).close()
    finally:
        beam.stop()
