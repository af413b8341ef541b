"""Several projects behind one PgBeam: which one a client gets, and that they share nothing."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, Cluster
from tests.behaviour.loops import run
from tests.net.certificates import Files

pytestmark = pytest.mark.pg

BLOG_LIMIT = 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates for both host names."""
    return Files(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def beam(clusters: Callable[[int], Cluster], files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beam]:
    """The shop on one server, the blog on another, and an archive that only its aliases lead to."""
    shop, blog = clusters(15), clusters(18)
    for cluster, text in ((shop, "of the shop"), (blog, "of the blog")):
        with cluster.connect() as boss:
            boss.execute("CREATE SCHEMA projects AUTHORIZATION app")  # others make the public one anew
            boss.execute("CREATE TABLE projects.whose (it text)")
            boss.execute("GRANT SELECT ON projects.whose TO app")
            boss.execute("INSERT INTO projects.whose VALUES (%s)", [text])
    upstream = f"postgresql://127.0.0.1:{blog.port}/{DATABASE}"
    running = Beam(
        shop,
        "transaction",
        tmp_path_factory.mktemp("beam"),
        settings={
            "tls": files.settings(),
            "stats_users": ["app"],
            "plugins": {
                "cache": {"ttl_s": 60},
                "limits": {"auth_attempts": 0, "projects": {"blog": {"max_connections": BLOG_LIMIT}}},
            },
        },
        project={"hostnames": ["shop.example.com"]},
        more_projects={
            "blog": {
                "upstream": upstream,
                "hostnames": ["blog.example.com"],
                "replicas": [upstream],
            },
            "archive": {
                "upstream": upstream,
                "pool_mode": "session",
                "databases": {"old": {"database": DATABASE, "user": "boss", "parameters": {"work_mem": "3MB"}}},
            },
        },
    )
    yield running
    running.stop()
    for cluster in (shop, blog):
        with cluster.connect() as boss:
            boss.execute("DROP SCHEMA projects CASCADE")


def connect(beam: Beam, files: Files, hostname: str = "", **more: Any) -> psycopg.Connection[Any]:
    """By that host name in TLS, or without TLS."""
    given: dict[str, Any] = {"host": "127.0.0.1", "port": beam.port, "user": "app", "dbname": DATABASE, **more}
    if hostname:
        given |= {"host": hostname, "hostaddr": "127.0.0.1", "sslmode": "verify-full", "sslrootcert": files["ca.crt"]}
    else:
        given["sslmode"] = "disable"
    return psycopg.connect(**given, autocommit=True)


def whose(client: psycopg.Connection[Any]) -> Any:
    """Which server's table it reads."""
    with client:
        return (client.execute("SELECT it FROM projects.whose").fetchone() or (None,))[0]


@pytest.mark.parametrize(
    ("hostname", "more", "found"),
    [
        ("shop.example.com", {}, "of the shop"),
        ("blog.example.com", {}, "of the blog"),
        ("localhost", {}, "of the shop"),  # nobody's name: the default
        ("", {}, "of the shop"),
        ("", {"options": "project=blog"}, "of the blog"),
        ("", {"options": "-c work_mem=5MB project=blog"}, "of the blog"),
        ("blog.example.com", {"options": "project=blog"}, "of the blog"),
        ("localhost", {"options": "project=blog"}, "of the blog"),
        ("", {"dbname": "old"}, "of the blog"),
        ("", {"dbname": "old", "options": "project=archive"}, "of the blog"),
    ],
)
def test_which_project_a_client_gets(beam: Beam, files: Files, hostname: str, more: dict[str, str], found: str) -> None:
    """By what it says in its options, by the host name, by an alias, by default; twice, so that a cache may answer."""
    for _ in range(2):
        assert whose(connect(beam, files, hostname, **more)) == found


@pytest.mark.parametrize(
    ("hostname", "options", "said"),
    [
        ("", "project=nope", 'project "nope" not found'),
        ("shop.example.com", "project=blog", 'options ask for project "blog", but hostname "shop.example.com" is that'),
        ("blog.example.com", "project=shop", 'options ask for project "shop", but hostname "blog.example.com" is that'),
    ],
)
def test_a_client_that_contradicts_itself(beam: Beam, files: Files, hostname: str, options: str, said: str) -> None:
    """It is told what is wrong, and gets neither; asyncpg has a class for it."""
    with pytest.raises(psycopg.OperationalError, match=said):
        connect(beam, files, hostname, options=options)
    if not hostname:
        with pytest.raises(asyncpg.ConnectionRejectionError, match=said):
            run(
                asyncpg.connect(
                    host="127.0.0.1", port=beam.port, user="app", database=DATABASE, ssl=False,
                    server_settings={"options": options},
                )
            )  # fmt: skip


def test_asyncpg_chooses_by_the_host_name(beam: Beam, files: Files) -> None:
    """Or by options, where TLS asks for a name that is nobody's."""

    async def ask(options: dict[str, str]) -> Any:
        client = await asyncpg.connect(
            host="localhost", port=beam.port, user="app", database=DATABASE, server_settings=options,
            ssl=ssl.create_default_context(cafile=files["ca.crt"]),
        )  # fmt: skip
        try:
            return await client.fetchval("SELECT it FROM projects.whose")
        finally:
            await client.close()

    assert run(asyncio.wait_for(ask({}), 20)) == "of the shop"
    assert run(asyncio.wait_for(ask({"options": "project=blog"}), 20)) == "of the blog"


def test_an_alias_brings_its_own_user_and_parameters(beam: Beam, files: Files) -> None:
    """As [databases] of PgBouncer: the database's real name, the role, and settings that the client did not make."""
    asked = "SELECT current_database(), session_user::text, current_setting('work_mem')"
    with connect(beam, files, dbname="old") as client:
        assert client.execute(asked).fetchone() == (DATABASE, "boss", "3MB")
    with connect(beam, files, dbname="old", options="-c work_mem=9MB") as client:
        assert client.execute(asked).fetchone() == (DATABASE, "boss", "9MB")


def test_limits_of_one_project_are_not_those_of_another(beam: Beam, files: Files) -> None:
    """The blog is full while the shop takes whoever comes."""
    blog = [connect(beam, files, "blog.example.com") for _ in range(BLOG_LIMIT)]
    with pytest.raises(psycopg.OperationalError, match="too many connections for project"):
        connect(beam, files, "blog.example.com")
    shop = [connect(beam, files, "shop.example.com") for _ in range(BLOG_LIMIT + 3)]
    for client in (*blog, *shop):
        assert client.execute("SELECT 1").fetchone() == (1,)
        client.close()


def test_each_project_is_counted_by_itself(beam: Beam, files: Files) -> None:
    """SHOW STATS, POOLS and REPLICAS tell them apart; so does the pool mode, which the archive has of its own."""
    with connect(beam, files, dbname="old") as archive:
        pid = archive.execute("SELECT pg_backend_pid()").fetchone()
        assert archive.execute("SELECT pg_backend_pid()").fetchone() == pid
        with psycopg.connect(f"postgresql://app@127.0.0.1:{beam.port}/pgbeam", autocommit=True) as console:
            rows = {table: console.execute(f"SHOW {table}").fetchall() for table in ("POOLS", "REPLICAS", "DATABASES")}
    databases = {row[0]: row[9] for row in rows["DATABASES"]}
    expected = {"shop": "transaction", "blog/shop": "transaction", "archive/old": "session"}
    assert expected.items() <= databases.items()
    assert "session" in {str(value) for row in rows["POOLS"] for value in row}
    assert {str(value) for row in rows["REPLICAS"] for value in row} >= {"blog"}
