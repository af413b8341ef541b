"""Passwords and names that are not plain words, whoever checks them, and lists that change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, Cluster, installation, start_cluster
from tests.net.certificates import Files

pytestmark = pytest.mark.pg

HBA = """\
local all all trust
host all boss 127.0.0.1/32 trust
host all "typed" 127.0.0.1/32 password
host all "hashed" 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
"""
PASSWORDS = [
    "pässwörd €",
    "ﬁne Ⅸ",  # which SASLprep makes other letters
    "a\u00a0b\u00adc",  # a space and nothing
    "e\u0301",  # two characters that are one
    "bell\x07",  # not allowed: stays as it is
    "\u0627b",  # two directions: likewise
    "\U0001f511 key",
    "\u0221 unassigned",
    " ",
    "'\"\\%:@/?#[]&=",
    "md5" + "0" * 32,
    "SCRAM-SHA-256",
    "x" * 900,
    "ß" * 400,
]
NAMES = [
    "with space",
    'quo"te',
    "apo'strophe",
    "back\\slash",
    "ünïcode Ж",
    "UPPER",
    "a,b=c",
    "semi;colon--",
    "$1",
    "%41",
    "project=shop",
    "x" * 63,
]
WAYS = ("relayed", "asked", "query", "list")


@pytest.fixture(scope="module", params=[15, pytest.param(18, marks=pytest.mark.slow)], ids=str)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server that asks everybody but its superuser."""
    found = installation(request.param)
    if found is None:
        pytest.skip(f"PostgreSQL {request.param} is not installed here")
    made = start_cluster(found)
    try:
        (made.folder / "data" / "pg_hba.conf").write_text(HBA)
        with made.connect() as boss:
            boss.execute("SELECT pg_reload_conf()")
            boss.execute("SET password_encryption = 'scram-sha-256'")
            for n, password in enumerate(PASSWORDS):
                if not password.startswith("md5"):
                    boss.execute(
                        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(f"odd_{n}"), password)
                    )
            for name in NAMES:
                boss.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(sql.Identifier(name)))
            boss.execute(sql.SQL("CREATE ROLE typed LOGIN PASSWORD {}").format(PASSWORDS[0]))
            boss.execute("SET password_encryption = 'md5'")
            boss.execute(sql.SQL("CREATE ROLE hashed LOGIN PASSWORD {}").format(PASSWORDS[0]))
        yield made
    finally:
        made.stop()


def userlist(secrets: list[tuple[str, str]]) -> str:
    """The file."""
    doubled = ((name.replace('"', '""'), secret.replace('"', '""')) for name, secret in secrets)
    return "".join(f'"{name}" "{secret}"\n' for name, secret in doubled)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is."""
    return tmp_path_factory.mktemp("list") / "userlist.txt"


@pytest.fixture(scope="module")
def beam(cluster: Cluster, listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beam]:
    """A project for each way to check."""
    with cluster.connect() as boss:
        secrets = boss.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL").fetchall()
    listed.write_text(userlist(secrets))
    upstream = f"postgresql://127.0.0.1:{cluster.port}"
    own = {
        f"own_{n}": {
            "upstream": f"postgresql://odd_{n}:{quote(password, safe='')}@127.0.0.1:{cluster.port}/{DATABASE}",
            "auth": "trust",
        }
        for n, password in enumerate(PASSWORDS)
        if not password.startswith("md5")
    }
    running = Beam(
        cluster,
        "transaction",
        tmp_path_factory.mktemp("beam"),
        settings={"tls": Files(tmp_path_factory.mktemp("certificates")).settings()},
        more_projects={
            "query": {"upstream": upstream, "auth": "scram", "auth_user": "boss"},
            "list": {"upstream": upstream, "auth": "scram", "users_file": str(listed)},
            **own,
        },
    )
    yield running
    running.stop()


def login(beam: Beam, way: str, user: str, password: str) -> dict[str, Any]:
    """What libpq is given."""
    return {
        "host": "127.0.0.1", "port": beam.port, "user": user, "dbname": DATABASE, "password": password,
        "sslmode": "require" if way == "asked" else "disable", "connect_timeout": 20,
        "options": f"project={'shop' if way in ('relayed', 'asked') else way}",
    }  # fmt: skip


def who(given: dict[str, Any]) -> Any:
    """Who that is."""
    with psycopg.connect(**given) as client:
        return (client.execute("SELECT session_user::text").fetchone() or ("",))[0]


@pytest.mark.parametrize("password", [text for text in PASSWORDS if not text.startswith("md5")], ids=ascii)
def test_a_password_may_be_anything(beam: Beam, password: str) -> None:
    """What lets a user in at the server lets it in here, new and known; PgBeam's own password may be as odd."""
    user = f"odd_{PASSWORDS.index(password)}"
    for way in WAYS:
        given = login(beam, way, user, password)
        for _ in range(2):
            assert who(given) == user, way
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**{**given, "password": password + "x"})
    n = PASSWORDS.index(password)
    assert who(login(beam, f"own_{n}", user, "")) == user


@pytest.mark.parametrize("user", ["typed", "hashed"])
@pytest.mark.parametrize("way", ["relayed", "asked"])
def test_other_methods_take_passwords_that_are_not_ascii(beam: Beam, user: str, way: str) -> None:
    """Bytes are passed on as they are."""
    for _ in range(2):
        assert who(login(beam, way, user, PASSWORDS[0])) == user


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_may_be_anything(beam: Beam, name: str) -> None:
    """As long as the server has such a role."""
    for way in WAYS:
        given = login(beam, way, name, "secret")
        for _ in range(2):
            assert who(given) == name, way
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**{**given, "password": "wrong"})


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_password(beam: Beam, way: str) -> None:
    """It is nobody's."""
    given = {**login(beam, way, "UPPER", ""), "passfile": "/dev/null"}
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
        psycopg.connect(**given)
    assert who(login(beam, way, "UPPER", "secret")) == "UPPER"


@pytest.mark.slow
def test_a_password_of_a_megabyte(beam: Beam) -> None:
    """It is refused before it is all there, and harms nobody."""
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**login(beam, "asked", "with_scram", "x" * 1_000_000))
    assert who(login(beam, "asked", "UPPER", "secret")) == "UPPER"
