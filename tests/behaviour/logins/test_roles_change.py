"""What changes about roles on the server, and how soon it holds for logins, whoever checks them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, PASSWORD, Cluster, installation, start_cluster
from tests.net.certificates import Files

pytestmark = pytest.mark.pg

HBA = """\
local all all trust
host all boss 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
CACHE_S = 0.2
HOLDS_S = 60.0
"""For so long a server that has let a user in vouches for it, see docs/authentication.md."""
CHANGES = {
    "password": "ALTER ROLE {user} PASSWORD 'new'",
    "nologin": "ALTER ROLE {user} NOLOGIN",
    "expired": "ALTER ROLE {user} VALID UNTIL '2020-01-01'",
    "dropped": "DROP ROLE {user}",
    "anew": "DROP ROLE {user}; CREATE ROLE {user} LOGIN PASSWORD 'new'",
}
WAYS = ("relayed", "asked", "query")
"""Passthrough without TLS, passthrough with it, and PgBeam's own check by auth_query."""


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
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def beam(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beam]:
    """A project that passes through and one that asks the server for secrets."""
    running = Beam(
        cluster,
        "transaction",
        tmp_path_factory.mktemp("beam"),
        settings={"tls": Files(tmp_path_factory.mktemp("certificates")).settings()},
        more_projects={
            "query": {
                "upstream": f"postgresql://127.0.0.1:{cluster.port}",
                "auth": "scram",
                "auth_user": "boss",
                "auth_cache_s": CACHE_S,
            }
        },
    )
    yield running
    running.stop()


class Person:
    """Somebody with a role of the server's, who comes to PgBeam one way."""

    def __init__(self, beam: Beam, user: str, way: str) -> None:
        self.user = user
        self._given: dict[str, Any] = {
            "host": "127.0.0.1", "port": beam.port, "user": user, "dbname": DATABASE, "connect_timeout": 10,
            "sslmode": "require" if way == "asked" else "disable",
            "options": f"project={'query' if way == 'query' else 'shop'}",
        }  # fmt: skip

    def connect(self, password: str = "old") -> psycopg.Connection[Any]:
        """A new connection."""
        return psycopg.connect(**self._given, password=password, autocommit=True)

    def log_in(self, password: str = "old") -> str:
        """ "" for who is in and can work; else what is said."""
        try:
            with self.connect(password) as client:
                assert client.execute("SELECT current_user").fetchone() == (self.user,)
                return ""
        except psycopg.OperationalError as error:
            return str(error)


@pytest.fixture
def boss(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A superuser on the server itself."""
    with cluster.connect() as one:
        one.execute("SET password_encryption = 'scram-sha-256'")
        yield one


def prepared(boss: psycopg.Connection[Any], user: str) -> None:
    """The role with its old password."""
    boss.execute(f"DROP ROLE IF EXISTS {user}")
    boss.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'old'")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["relayed", "query"])
def test_a_change_holds_at_the_next_login(beam: Beam, boss: psycopg.Connection[Any], way: str, change: str) -> None:
    """Where the server is asked each time, at once; by auth_query when its answer has become old."""
    user = f"at_once_{way}_{change}"
    prepared(boss, user)
    person, neighbour = Person(beam, user, way), Person(beam, "with_scram", "asked")
    with neighbour.connect(PASSWORD) as other:
        assert person.log_in() == ""
        boss.execute(CHANGES[change].format(user=user))
        time.sleep(CACHE_S + 0.1)
        said = person.log_in()
        words = "password authentication failed", "is not permitted to log in"
        assert any(word in said for word in words), said
        if change in ("password", "anew"):
            assert person.log_in("new") == ""
            assert "password authentication failed" in person.log_in()
        assert other.execute("SELECT current_user").fetchone() == ("with_scram",)


@pytest.mark.parametrize("change", ["password", "anew"])
def test_a_new_password_holds_at_once_where_keys_are_kept(
    beam: Beam, boss: psycopg.Connection[Any], change: str
) -> None:
    """The client is asked again, and from then on the old one is refused; who is connected goes on."""
    user = f"kept_{change}"
    prepared(boss, user)
    person = Person(beam, user, "asked")
    with person.connect() as there:
        assert person.log_in() == ""
        boss.execute(CHANGES[change].format(user=user))
        assert person.log_in("new") == ""
        assert "password authentication failed" in person.log_in()
        assert person.log_in("new") == ""
        if change == "password":
            assert there.execute("SELECT current_user").fetchone() == (user,)


@pytest.mark.slow
def test_every_change_holds_after_a_minute(beam: Beam, boss: psycopg.Connection[Any]) -> None:
    """Whatever PgBeam has kept: the old password is refused then, and nobody else is."""
    people = {change: Person(beam, f"minute_{change}", "asked") for change in CHANGES}
    neighbour = Person(beam, "with_scram", "asked")
    assert neighbour.log_in(PASSWORD) == ""
    for change, person in people.items():
        prepared(boss, person.user)
        assert person.log_in() == ""
        boss.execute(CHANGES[change].format(user=person.user))
    time.sleep(HOLDS_S + 1)
    for change, person in people.items():
        for _ in range(2):
            assert person.log_in() != "", change
    for change in ("password", "anew"):
        assert people[change].log_in("new") == ""
        assert people[change].log_in() != ""
    assert neighbour.log_in(PASSWORD) == ""
