"""Secrets are told to nobody: one in each place where a secret may be, looked for in all that PgBeam says."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest

from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.internal.keyring import Keyring
from pgbeam_core.net.auth.own_passwords import OwnPassword
from pgbeam_core.testing import FakePostgres, Rehearsal
from pgbeam_core.wire.frontend import PasswordMessage
from pgbeam_core.wire.scram_keys import ScramKeys, parse_verifier, verifier
from pgbeam_core.wire.secrets import Md5Hash, Password
from tests.behaviour.beams import PGBEAM, Beam
from tests.behaviour.clusters import DATABASE, Cluster, free_port, installation, start_cluster
from tests.net.certificates import Files

pytestmark = [pytest.mark.pg, pytest.mark.slow]

HBA = """\
local all all trust
host all boss 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
PLACES = (
    "url", "listed", "filed", "kept", "printed", "queried", "asker", "redis", "typed", "relayed", "dashboard", "health",
    "operator", "wrong", "literal",
)  # fmt: skip
CANARY = {place: f"cAnAry-{place}-5f1e7a" for place in PLACES}
SALT, ITERATIONS = b"salt of a canary", 4096
TABLES = (
    "CLIENTS", "SERVERS", "POOLS", "DATABASES", "USERS", "CONFIG", "STATS", "SOCKETS", "LIMITS", "REPLICAS", "BREAKERS",
    "WAITING", "PLUGINS", "TRANSACTIONS", "PINS", "CACHE", "RULES", "SHAPES", "MEM", "LISTS", "VERSION",
)  # fmt: skip
PATHS = (
    "metrics", "v1/stats", "v1/history", "v1/projects", "v1/shapes?project=url", "v1/pools", "v1/clients", "v1/servers",
    "v1/tables/CONFIG", "v1/tables/USERS", "v1/workers", "v1/log?since=0", "v1/session", "healthz",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server with a role for each canary that is a password of one."""
    found = installation(15) or installation(18)
    if found is None:
        pytest.skip("PostgreSQL is not installed here")
    made = start_cluster(found)
    try:
        with made.connect() as boss:
            boss.execute("SET password_encryption = 'scram-sha-256'")
            for place in ("url", "kept", "printed", "typed", "relayed", "asker", "operator"):
                boss.execute(f"CREATE ROLE {place} LOGIN PASSWORD '{CANARY[place]}'")
            for place in ("listed", "filed", "queried"):  # PgBeam's list and the server's agree
                boss.execute(f"CREATE ROLE {place} LOGIN PASSWORD '{CANARY[place]}'")
            boss.execute("CREATE SCHEMA canaries")
            boss.execute("CREATE TABLE canaries.secrets (name text, secret text)")
            boss.execute("INSERT INTO canaries.secrets VALUES ('queried', %s)", [CANARY["queried"]])
            boss.execute("GRANT USAGE ON SCHEMA canaries TO asker")
            boss.execute("GRANT SELECT ON canaries.secrets TO asker")
        (made.folder / "data" / "pg_hba.conf").write_text(HBA)
        made.restart()
        yield made
    finally:
        made.stop()


def forms(password: str) -> list[str]:
    """A password and what is as good as it, as they might be written."""
    keys = ScramKeys.from_password(password, SALT, ITERATIONS)
    secrets = [password.encode(), keys.client_key, keys.server_key]
    found = [password]
    for secret in secrets:
        found += [secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1]]
    return found


def assert_silent(what: str, text: str) -> None:
    """None of them stands there."""
    for place, password in CANARY.items():
        for form in forms(password):
            assert form not in text, f"{what} tells {place}"


def settings_of(cluster: Cluster, folder: Path) -> dict[str, Any]:
    """Settings that hold a canary wherever one fits."""
    (folder / "userlist.txt").write_text(f'"filed" "{CANARY["filed"]}"\n')
    (folder / "kept").write_text(CANARY["kept"] + "\n")
    (folder / "printed").write_text(CANARY["printed"] + "\n")
    where = f"127.0.0.1:{cluster.port}/{DATABASE}"
    closed = free_port()
    projects = {
        "url": {"upstream": f"postgresql://url:{CANARY['url']}@{where}", "auth": "trust"},
        "listed": {
            "upstream": f"postgresql://{where}",
            "auth": "scram",
            "users": {"listed": CANARY["listed"], "operator": CANARY["operator"]},
        },
        "filed": {"upstream": f"postgresql://{where}", "auth": "scram", "users_file": str(folder / "userlist.txt")},
        "kept": {"upstream": f"postgresql://kept@{where}", "auth": "trust", "password_file": str(folder / "kept")},
        "printed": {
            "upstream": f"postgresql://printed@{where}",
            "auth": "trust",
            "password_command": ["cat", str(folder / "printed")],
        },
        "queried": {
            "upstream": f"postgresql://{where}",
            "replicas": [f"postgresql://url:{CANARY['url']}@127.0.0.1:{closed}/{DATABASE}"],
            "auth": "scram",
            "auth_user": "asker",
            "auth_password": CANARY["asker"],
            "auth_query": "SELECT name, secret FROM canaries.secrets WHERE name = $1",
        },
        "passing": {"upstream": f"postgresql://{where}"},
    }
    return {
        "log_level": "debug",
        "tls": Files(folder).settings(),
        "metrics_listen": f"127.0.0.1:{free_port()}",
        "dashboard": True,
        "dashboard_token": CANARY["dashboard"],
        "admin_users": ["operator"],
        "plugins": {
            "cache": {"l2": f"redis://:{CANARY['redis']}@127.0.0.1:{closed}/0"},
            "replica": {"health_user": "health", "health_password": CANARY["health"]},
        },
        "projects": projects,
    }


def clients(beam: Beam) -> Iterator[tuple[str, str, str, str]]:
    """Project, user, password and sslmode of each way to log in."""
    for place in ("url", "kept", "printed"):
        yield place, place, "", "disable"
    for place in ("listed", "filed", "queried"):
        yield place, place, CANARY[place], "disable"
    yield "passing", "typed", CANARY["typed"], "require"
    yield "passing", "relayed", CANARY["relayed"], "disable"
    assert beam.process.poll() is None


def test_no_secret_is_told(cluster: Cluster, beam: Callable[..., Beam], tmp_path: Path) -> None:
    """Log at its most talkative, check, console, metrics, API, process titles, errors, reloads that fail."""
    settings = settings_of(cluster, tmp_path)
    there = beam(cluster, "transaction", settings=settings, project={"default": True})
    refused = 0
    for project, user, password, sslmode in clients(there):
        for given in (password, CANARY["wrong"]):
            where = (
                f"postgresql://{user}@127.0.0.1:{there.port}/{DATABASE}?sslmode={sslmode}&options=project%3D{project}"
            )
            try:
                with psycopg.connect(where, password=given, autocommit=True, connect_timeout=20) as client:
                    assert client.execute("SELECT current_user").fetchone() == (user,)
                    with pytest.raises(psycopg.errors.UndefinedTable):
                        client.execute("SELECT %s FROM nowhere", [CANARY["literal"]])
            except psycopg.OperationalError as error:
                assert_silent("an error", str(error))
                refused += 1
    assert refused == 5  # wrong passwords, where there are any
    console = f"postgresql://operator@127.0.0.1:{there.port}/pgbeam?options=project%3Dlisted"
    with psycopg.connect(console, password=CANARY["operator"], autocommit=True) as operator:
        for table in TABLES:
            assert_silent(f"SHOW {table}", str(operator.execute(f"SHOW {table}").fetchall()))
    for path in PATHS:
        said = fetched(settings["metrics_listen"], path)
        assert "rror 4" not in said, f"{path}: {said}"
        assert_silent(path, said)
    for process in (psutil.Process(there.process.pid), *psutil.Process(there.process.pid).children(recursive=True)):
        assert_silent("a process title", " ".join(process.cmdline()))
    config = there.command[there.command.index("--config") + 1]
    checked = subprocess.run([PGBEAM, "check", "--config", config], check=True, capture_output=True, text=True)
    assert "listed" in checked.stdout
    assert_silent("pgbeam check", checked.stdout + checked.stderr)
    Path(config).write_text(Path(config).read_text().replace("upstream = ", "upsteam = "))
    broken = subprocess.run([PGBEAM, "check", "--config", config], check=False, capture_output=True, text=True)
    assert broken.returncode
    assert_silent("pgbeam check of what is wrong", broken.stdout + broken.stderr)
    there.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert "settings were not reloaded" in there.log
    assert_silent("the log", there.log)


def fetched(where: str, path: str) -> str:
    """What the dashboard's API says there."""
    request = urllib.request.Request(f"http://{where}/{path}")
    request.add_header("Authorization", f"Bearer {CANARY['dashboard']}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        return f"{error} {error.read().decode()}"


def test_a_crash_tells_no_secret(cluster: Cluster, beam: Callable[..., Beam], tmp_path: Path) -> None:
    """What Python says of its threads when the process is killed by SIGABRT holds places in the code and no values."""
    there = beam(cluster, "transaction", settings=settings_of(cluster, tmp_path), project={"default": True})
    with psycopg.connect(
        f"postgresql://listed@127.0.0.1:{there.port}/{DATABASE}?options=project%3Dlisted", password=CANARY["listed"]
    ) as client:
        client.execute("SELECT 1")
    there.process.send_signal(signal.SIGABRT)
    there.process.wait(15)
    assert_silent("a crash", there.log)
    there.stop = lambda: None  # type: ignore[method-assign]


def test_what_holds_a_secret_does_not_show_it(tmp_path: Path) -> None:
    """In tracebacks, in a debugger, in a log line that somebody adds: repr and str of everything that holds one."""
    password = CANARY["typed"]
    keys = ScramKeys.from_password(password, SALT, ITERATIONS)
    kept = parse_verifier(verifier(password, SALT, ITERATIONS))
    plain, hashed = Password(password.encode()), Md5Hash.of("app", password.encode())
    relay = StoredSecret("app", lambda: plain, os.urandom, keys=keys)
    relay.secret = plain
    keyring = Keyring()
    keyring.learn("shop", "app", keys)
    project = {
        "upstream": f"postgresql://app:{password}@127.0.0.1/shop",
        "auth": "scram",
        "users": {"app": password},
        "auth_user": "app",
        "auth_password": password,
    }
    with Rehearsal({}, project=project, servers={"127.0.0.1:5432": FakePostgres()}) as rehearsal:
        settings = rehearsal.beam.settings
        held: list[Any] = [
            plain, hashed, keys, kept, relay, keyring, settings, *settings.projects.values(), rehearsal.beam,
            PasswordMessage(password.encode()), OwnPassword(lambda: plain, lambda: 0.0),
            rehearsal.beam.authority.secrets,
        ]  # fmt: skip
        for one in held:
            for text in (repr(one), str(one) if one is not kept else "", f"{one!r}"):
                assert_silent(type(one).__name__, text)
