"""Where PgBeam finds its own passwords, and how it goes on when these change."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, Cluster, installation, start_cluster

pytestmark = pytest.mark.pg

HBA = """\
local all all trust
host all boss 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
APP = "for applications"
"""What clients prove themselves with: another password than the server's."""
Start = Callable[..., Beam]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that asks everybody but its superuser; whatever is installed, versions do not differ in this."""
    found = installation(15) or installation(18)
    if found is None:
        pytest.skip("PostgreSQL is not installed here")
    made = start_cluster(found)
    try:
        (made.folder / "data" / "pg_hba.conf").write_text(HBA)
        with made.connect() as boss:
            boss.execute("SELECT pg_reload_conf()")
        yield made
    finally:
        made.stop()


@contextmanager
def role(cluster: Cluster, name: str, password: str) -> Iterator[psycopg.Connection[Any]]:
    """That role with that password, and a superuser who can change it."""
    with cluster.connect() as boss:
        boss.execute("SET password_encryption = 'scram-sha-256'")
        boss.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        try:
            yield boss
        finally:
            boss.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{name}'")
            boss.execute(f"DROP ROLE {name}")


def who(url: str) -> Any:
    """Whom the server takes that client for."""
    with psycopg.connect(url, connect_timeout=10) as client:
        return (client.execute("SELECT current_user").fetchone() or (None,))[0]


def upstream(cluster: Cluster, user: str, **options: str) -> str:
    """The URL, without a password."""
    more = "&".join(f"{key}={value}" for key, value in options.items())
    return f"postgresql://{user}@127.0.0.1:{cluster.port}/{DATABASE}?{more}"


def own(user: str) -> dict[str, Any]:
    """PgBeam checks that user by a secret of its own."""
    return {"auth": "scram", "users": {user: APP}}


@pytest.mark.parametrize(
    "lines",
    [
        ["127.0.0.1:{port}:{db}:keeper:{escaped}"],
        ["*:*:*:*:{escaped}"],
        ["# a comment", "", "127.0.0.1:{port}:{db}:another:no", "10.0.0.1:*:*:keeper:no", "*:1:*:*:no",
         "127.0.0.1:*:{db}:keeper:{escaped}", "*:*:*:*:no"],
        ["127.0.0.1:{port}:{db}:kee\\per:{escaped}\r"],
    ],
    ids=["exact", "wildcards", "the first that fits", "escapes"],
)  # fmt: skip
def test_a_password_file_of_libpq(cluster: Cluster, beam: Start, tmp_path: Path, lines: list[str]) -> None:
    """PgBeam finds its own password where psql finds it; one with a colon and a backslash is escaped there."""
    password = r"s3cr:et\x y"
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    path = tmp_path / "pgpass"
    path.write_text("\n".join(lines).format(port=cluster.port, db=DATABASE, escaped=escaped) + "\n")
    path.chmod(0o600)
    with role(cluster, "keeper", password):
        direct = psycopg.connect(cluster.url("keeper"), passfile=str(path))  # libpq reads it so
        direct.close()
        project = {"upstream": upstream(cluster, "keeper"), "auth": "trust"}
        there = beam(cluster, "transaction", project=project, environment={"PGPASSFILE": str(path)})
        assert who(there.url("keeper")) == "keeper"
        assert password not in there.log


@pytest.mark.slow
def test_a_password_file_that_others_may_read(cluster: Cluster, beam: Start, tmp_path: Path) -> None:
    """It is left alone as libpq leaves it, with a warning; when it is set right, it counts."""
    home = tmp_path / "home"
    home.mkdir()
    path = home / ".pgpass"
    path.write_text("*:*:*:*:secret\n")
    path.chmod(0o640)
    with role(cluster, "keeper", "secret"):
        project = {"upstream": upstream(cluster, "keeper"), "auth": "trust"}
        there = beam(cluster, "transaction", project=project, environment={"HOME": str(home), "PGPASSFILE": ""})
        given = there.url("keeper")
        with pytest.raises(psycopg.OperationalError, match="asks for the password of user"):
            psycopg.connect(given)
        assert f"password file {path} has group or world access" in there.log
        path.chmod(0o600)
        time.sleep(5.1)  # AGAIN_AFTER_S
        assert who(given) == "keeper"


def test_a_service_file_and_several_hosts(cluster: Cluster, beam: Start, tmp_path: Path) -> None:
    """A service says where and as whom; of several hosts each has its line of the password file."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = nobody.getsockname()[1]
    services, passwords = tmp_path / "services", tmp_path / "pgpass"
    services.write_text(
        f"[shop]\nhost=127.0.0.1,127.0.0.1\nport={closed},{cluster.port}\ndbname={DATABASE}\nuser=keeper\n"
    )
    passwords.write_text(f"127.0.0.1:{closed}:*:another:no\n127.0.0.1:{cluster.port}:{DATABASE}:keeper:secret\n")
    passwords.chmod(0o600)
    with role(cluster, "keeper", "secret"):
        environment = {"PGSERVICEFILE": str(services), "PGPASSFILE": str(passwords)}
        project = {"upstream": "postgresql://?service=shop", "auth": "trust"}
        there = beam(cluster, "transaction", project=project, environment=environment)
        assert who(there.url("keeper")) == "keeper"


@pytest.mark.slow
def test_a_password_in_a_file_that_is_written_anew(cluster: Cluster, beam: Start, tmp_path: Path) -> None:
    """It is read again before anybody hears of a refusal; where it is wrong, at most every five seconds."""
    path = tmp_path / "password"
    path.write_text("first\n")
    with role(cluster, "keeper", "first") as boss:
        project = {"upstream": upstream(cluster, "keeper"), **own("keeper"), "password_file": str(path)}
        there = beam(cluster, "transaction", project=project)
        given = there.url("keeper", password=APP)
        assert who(given) == "keeper"
        time.sleep(5.1)  # AGAIN_AFTER_S
        boss.execute("ALTER ROLE keeper PASSWORD 'second'")
        path.write_text("second\n")
        boss.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'keeper'")
        assert who(given) == "keeper"
        assert "second" not in there.log


def test_a_program_is_not_run_at_each_refusal(cluster: Cluster, beam: Start, tmp_path: Path) -> None:
    """A token that the server does not take costs a vault no more than one question in five seconds."""
    runs = tmp_path / "runs"
    command = ["sh", "-c", f"echo x >> {runs}; echo wrong"]
    with role(cluster, "keeper", "right"):
        project = {"upstream": upstream(cluster, "keeper"), **own("keeper"), "password_command": command}
        there = beam(cluster, "transaction", project=project)
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(there.url("keeper", password=APP))
        most = 2 + (time.monotonic() - began) // 5
        assert 1 <= len(runs.read_text().split()) <= most


def reloaded(there: Beam, words: str) -> None:
    """SIGHUP, and what is logged of it."""
    before = there.log.count(words)
    there.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 15
    while there.log.count(words) == before:
        assert time.monotonic() < deadline, there.log[-2000:]
        time.sleep(0.02)


def test_a_list_of_users_that_is_written_anew(cluster: Cluster, beam: Start, tmp_path: Path) -> None:
    """It counts within a second or with SIGHUP; one that is wrong changes nothing, and the log names the line."""
    path = tmp_path / "userlist.txt"
    path.write_text('"app" "first"\n')
    project = {"upstream": f"postgresql://boss@127.0.0.1:{cluster.port}", "auth": "scram", "users_file": str(path)}
    with cluster.connect() as boss:
        boss.execute("ALTER ROLE app PASSWORD 'first'")
        there = beam(cluster, "transaction", project=project)
        assert who(there.url(password="first")) == "app"
        path.write_text('"app" "second"\n"another" "SCRAM-SHA-256$4096:oops"\n')
        reloaded(there, "settings were not reloaded")
        assert "line 2: the secret of user" in there.log
        assert who(there.url(password="first")) == "app"
        boss.execute("ALTER ROLE app PASSWORD 'second'")
        path.write_text('"app" "second"\n')
        reloaded(there, "settings reloaded")
        assert who(there.url(password="second")) == "app"
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(there.url(password="first"))


@pytest.fixture
def falling() -> Iterator[Cluster]:
    """A server that is down for a while."""
    found = installation(15) or installation(18)
    if found is None:
        pytest.skip("PostgreSQL is not installed here")
    made = start_cluster(found)
    yield made
    made.stop()


def test_auth_query_while_the_server_is_down(falling: Cluster, beam: Start) -> None:
    """Who was known is checked as before, and so is who is known not to be; all others are told why, at once."""
    with falling.connect() as boss:
        boss.execute("ALTER ROLE app PASSWORD 'secret'")
        boss.execute("CREATE ROLE later LOGIN PASSWORD 'secret'")
    project = {"upstream": f"postgresql://127.0.0.1:{falling.port}", "auth": "scram", "auth_user": "boss"}
    there = beam(falling, "transaction", project={**project, "auth_cache_s": 0.5})
    assert who(there.url(password="secret")) == "app"
    refused = "password authentication failed"
    for down in (False, True):
        for user in ("app", "nobody"):
            with pytest.raises(psycopg.OperationalError, match=refused):
                psycopg.connect(there.url(user, password="wrong"), connect_timeout=5)
        if not down:
            falling.crash()
            time.sleep(0.6)
    for user in ("app", "later"):
        with pytest.raises(psycopg.OperationalError, match=r"could not connect to 127\.0\.0\.1|circuit breaker open"):
            psycopg.connect(there.url(user, password="secret"), connect_timeout=5)
    falling.revive()
    deadline = time.monotonic() + 30
    for user in ("later", "app"):
        while True:
            try:
                assert who(there.url(user, password="secret")) == user
                break
            except psycopg.OperationalError:  # the circuit breaker looks again now and then
                assert time.monotonic() < deadline
                time.sleep(0.2)
