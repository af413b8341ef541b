"""Logins with real servers, and what becomes of them: passwords that change, servers that are lost, storms."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pg8000.dbapi
import psycopg
import pytest
import trustme

from pgbeam_core.wire import frontend
from pgbeam_core.wire.authentication import (
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    auth_code,
)
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.frontend import SASLInitialResponse, SASLResponse
from pgbeam_core.wire.scram import ScramClient, ScramKeys, parse_verifier
from pgbeam_core.wire.startup import StartupMessage
from pgbeam_core.wire.tags import Auth
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, LOGINS, PASSWORD, Cluster, installation, start_cluster
from tests.behaviour.loops import run

pytestmark = pytest.mark.pg

MODES = ("transaction", "session")
AUTHS = ("passthrough", "scram", "query")
POOL = 20


class Place:
    """A server with TLS, and a PgBeam with TLS in front of it that has a project for each way to log in."""

    sslmode = "require"
    """Between PgBeam and the server."""

    def __init__(self, version: int, folder: Path) -> None:
        found = installation(version)
        if found is None:
            pytest.skip(f"PostgreSQL {version} is not installed here")
        authority = trustme.CA()
        self.root = folder / "root.crt"
        authority.cert_pem.write_to_path(self.root)
        mine = authority.issue_cert("127.0.0.1", "localhost")
        mine.cert_chain_pems[0].write_to_path(folder / "server.crt")
        mine.private_key_pem.write_to_path(folder / "server.key")
        self.cluster = start_cluster(found)
        try:
            self._encrypt(mine)
            with self.cluster.connect() as boss:
                self.secrets = dict(boss.execute("SELECT rolname, rolpassword FROM pg_authid").fetchall())
            self.beam = Beam(
                self.cluster,
                "transaction",
                folder,
                project=self._project("passthrough", "transaction"),
                more_projects={f"{auth}-{mode}": self._project(auth, mode) for auth in AUTHS for mode in MODES},
                settings={"tls": {"cert": str(folder / "server.crt"), "key": str(folder / "server.key")}},
            )
        except BaseException:
            self.cluster.stop()
            raise

    def _encrypt(self, certificate: Any) -> None:
        data = self.cluster.folder / "data"
        certificate.cert_chain_pems[0].write_to_path(data / "server.crt")
        certificate.private_key_pem.write_to_path(data / "server.key")
        owner = data.stat()
        for name in ("server.crt", "server.key"):
            (data / name).chmod(0o600)
            os.chown(data / name, owner.st_uid, owner.st_gid)
        with self.cluster.connect() as boss:
            try:
                boss.execute("ALTER SYSTEM SET ssl = on")
            except psycopg.errors.InvalidParameterValue:  # this build knows no TLS
                self.sslmode = "disable"
            boss.execute("SELECT pg_reload_conf()")

    def _project(self, auth: str, mode: str) -> dict[str, Any]:
        logins: dict[str, Any] = {"auth": "scram"}
        if auth == "passthrough":
            logins = {"auth": "passthrough"}
        elif auth == "query":
            logins |= {"auth_user": "boss", "auth_cache_s": 0.2}
        else:
            logins["users"] = {user: self.secrets[user] or PASSWORD for user in LOGINS}
            logins["users"]["with_password"] = PASSWORD
        upstream = f"postgresql://127.0.0.1:{self.cluster.port}?sslmode={self.sslmode}"
        return {"upstream": upstream, "pool_mode": mode, **logins}

    def login(self, project: str, user: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
        """What libpq is given."""
        given = {"host": "127.0.0.1", "port": self.beam.port, "user": user, "dbname": DATABASE, "password": password}
        return {**given, "options": f"project={project}", "connect_timeout": 20, **more}

    def stop(self) -> None:
        try:
            self.beam.stop()
        finally:
            self.cluster.stop()


@pytest.fixture(scope="module", params=[18, 15], ids=lambda version: f"pg{version}")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all tests of a version."""
    made = Place(request.param, tmp_path_factory.mktemp("logins"))
    yield made
    made.stop()


@pytest.mark.parametrize("project", ["passthrough-transaction", "scram-session", "query-transaction"])
def test_a_driver_all_in_python(place: Place, project: str) -> None:
    """pg8000, over TLS that it does not check."""
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE

    client = pg8000.dbapi.connect(
        "with_scram", host="127.0.0.1", port=place.beam.port, password=PASSWORD, database=DATABASE,
        ssl_context=unverified, startup_params={"options": f"project={project}"},
    )  # fmt: skip
    client.cursor().execute("SELECT 1")
    client.close()


def test_a_changed_password(place: Place) -> None:
    """The new one is taken at once, the old one no more, and who is connected goes on."""
    with place.cluster.connect() as boss:
        boss.execute("SET password_encryption = 'scram-sha-256'")
        boss.execute("CREATE ROLE changing LOGIN PASSWORD 'old'")
    hba = place.cluster.folder / "data" / "pg_hba.conf"
    text = hba.read_text()
    hba.write_text("host all changing 127.0.0.1/32 scram-sha-256\n" + text)
    with place.cluster.connect() as boss:
        boss.execute("SELECT pg_reload_conf()")
        for project in ("passthrough-transaction", "query-transaction"):
            boss.execute("ALTER ROLE changing PASSWORD 'old'")
            time.sleep(0.3)  # auth_cache_s
            with psycopg.connect(
                **place.login(project, "changing", "old", sslmode="require"), autocommit=True
            ) as there:
                there.execute("SELECT 1")
                boss.execute("ALTER ROLE changing PASSWORD 'new'")
                time.sleep(0.3)
                with psycopg.connect(**place.login(project, "changing", "new", sslmode="require")) as client:
                    assert client.execute("SELECT current_user").fetchone() == ("changing",)
                with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                    psycopg.connect(**place.login(project, "changing", "old", sslmode="require"))
                assert there.execute("SELECT current_user").fetchone() == ("changing",)
        boss.execute("ALTER ROLE changing NOLOGIN")
        time.sleep(0.3)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**place.login("query-transaction", "changing", "new", sslmode="require"))


def test_a_lost_server_comes_back(place: Place) -> None:
    """PgBeam logs in by the keys of the client, whose session does not notice."""
    for project in ("passthrough-transaction", "scram-transaction"):
        given = place.login(project, "with_scram", sslmode="require")
        with psycopg.connect(**given, autocommit=True) as client, place.cluster.connect() as boss:
            client.execute("SELECT 1")
            ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'with_scram'"
            boss.execute(ended)
            deadline = time.monotonic() + 10
            while True:  # the first may run into the loss
                try:
                    assert client.execute("SELECT current_user").fetchone() == ("with_scram",)
                    break
                except psycopg.OperationalError:
                    assert not client.closed
                    assert time.monotonic() < deadline


async def in_and_out(port: int, options: str, keys: ScramKeys) -> None:
    """Connect, select, close, as a function in a cloud does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    parameters = {"user": "with_scram", "database": DATABASE, "options": options}
    writer.write(StartupMessage(3, 0, parameters).to_bytes())
    cutter, scram, asked = FrameCutter(), ScramClient("", keys, lambda: b"a nonce of enough bytes"), False
    while True:
        data = await asyncio.wait_for(reader.read(65536), 60)
        assert data, "PgBeam has hung up"
        for frame in cutter.feed(data):
            assert frame[:1] != b"E", frame
            if frame[:1] == b"R" and auth_code(frame) is Auth.SASL:
                writer.write(SASLInitialResponse(b"SCRAM-SHA-256", scram.first()).to_bytes())
            elif frame[:1] == b"R" and auth_code(frame) is Auth.SASL_CONTINUE:
                said = AuthenticationSASLContinue.from_bytes(frame).data
                writer.write(SASLResponse(scram.final(said)).to_bytes())
            elif frame[:1] == b"R" and auth_code(frame) is Auth.SASL_FINAL:
                scram.verify(AuthenticationSASLFinal.from_bytes(frame).data)
            elif frame[:1] == b"Z" and not asked:
                asked = True
                writer.write(frontend.Query(b"SELECT 1").to_bytes())
            elif frame[:1] == b"Z":
                writer.write(frontend.TERMINATE)
                writer.close()
                return


@pytest.mark.parametrize("clients", [200, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_storm_of_logins(cluster: Cluster, beam: Callable[..., Beam], clients: int) -> None:
    """Each connects, selects and closes: no error, and never more servers than the pool has room for."""
    with cluster.connect() as boss:
        row = boss.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'with_scram'").fetchone()
    assert row is not None
    secret = parse_verifier(row[0])
    keys = ScramKeys.from_password(PASSWORD, secret.salt, secret.iterations)
    pool = {"plugins": {"pool": {"max_active": POOL}}}
    there = beam(cluster, "transaction", settings=pool, project={"auth": "scram", "users": {"with_scram": row[0]}})

    async def storm() -> int:
        running = [asyncio.create_task(in_and_out(there.port, "", keys)) for _ in range(clients)]
        most = 0
        while not all(task.done() for task in running):
            most = max(most, len(there.servers()))
            await asyncio.sleep(0.05)
        await asyncio.gather(*running)
        return most

    assert run(storm()) <= POOL


def test_a_password_that_a_program_prints(cluster: Cluster, beam: Callable[..., Beam], tmp_path: Path) -> None:
    """It is asked again when the server refuses what it said, before anybody hears of that."""
    token = tmp_path / "token"
    with cluster.connect() as boss:
        boss.execute("SET password_encryption = 'scram-sha-256'")
        boss.execute("DROP ROLE IF EXISTS with_token")
        boss.execute("CREATE ROLE with_token LOGIN PASSWORD 'first'")
        hba = cluster.folder / "data" / "pg_hba.conf"
        before = hba.read_text()
        try:
            hba.write_text("host all with_token 127.0.0.1/32 scram-sha-256\n" + before)
            boss.execute("SELECT pg_reload_conf()")
            token.write_text("first\n")
            project = {
                "upstream": f"postgresql://with_token@127.0.0.1:{cluster.port}",
                "auth": "scram",
                "users": {"with_token": "for applications"},
                "password_command": ["cat", str(token)],
            }
            there = beam(cluster, "transaction", project=project)
            given = there.url("with_token", password="for applications")
            with psycopg.connect(given, autocommit=True) as client:
                assert client.execute("SELECT current_user").fetchone() == ("with_token",)
                time.sleep(5.1)  # AGAIN_AFTER_S
                boss.execute("ALTER ROLE with_token PASSWORD 'second'")
                token.write_text("second\n")
                boss.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'with_token'"
                )
                with psycopg.connect(given) as other:
                    assert other.execute("SELECT current_user").fetchone() == ("with_token",)
            assert "second" not in there.log
        finally:
            hba.write_text(before)
            boss.execute("SELECT pg_reload_conf()")
