"""What clients and PgBeam show instead of passwords, where passwords are kept, and how odd they may be."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgbeam_core.wire.frontend import SASLInitialResponse
from tests.behaviour import frames
from tests.behaviour.beams import SOCKET_PORT, Beam
from tests.behaviour.clusters import DATABASE, Cluster, installation, start_cluster
from tests.behaviour.wireclient import WireClient, error_fields
from tests.net.certificates import Files

pytestmark = pytest.mark.pg

HBA = """\
local all boss trust
local all root peer
local all mapped peer map=known
local all all trust
host all boss 127.0.0.1/32 trust
host all by_ident 127.0.0.1/32 ident
host all rejected 127.0.0.1/32 reject
host all +asked 127.0.0.1/32 scram-sha-256
host all +hashed 127.0.0.1/32 md5
host all +typed 127.0.0.1/32 password
host all all 127.0.0.1/32 trust
"""
TOKENS = 'host all by_token 127.0.0.1/32 oauth issuer="https://example.org" scope="openid"\n'


@pytest.fixture(scope="module", params=[18, 15], ids=lambda version: f"pg{version}")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server of these tests' own, because they change its pg_hba.conf."""
    found = installation(request.param)
    if found is None:
        pytest.skip(f"PostgreSQL {request.param} is not installed here")
    made = start_cluster(found)
    try:
        data = made.folder / "data"
        with made.connect() as boss:
            for name in ("by_ident", "rejected", "by_token", "root", "mapped", "deploy", "reports"):
                boss.execute(f"CREATE ROLE {name} LOGIN")
            for name in ("asked", "hashed", "typed"):
                boss.execute(f"CREATE ROLE {name}")
        (data / "pg_ident.conf").write_text("known root mapped\n")
        (data / "pg_hba.conf").write_text((TOKENS if made.version >= 18 else "") + HBA)
        if made.version >= 18:
            with (data / "postgresql.auto.conf").open("a") as file:
                file.write("oauth_validator_libraries = 'nobody_has_this'\n")
        made.restart()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates of PgBeam, of clients, and of a stranger."""
    made = Files(tmp_path_factory.mktemp("certificates"))
    made.write("deploy", made.ca, "robot@example.net", common_name="deploy")
    made.write("by_mail", made.ca, "reports@example.com")
    stranger = Files(tmp_path_factory.mktemp("strangers"))
    for name in ("crt", "key"):
        Path(made[f"stranger.{name}"]).write_bytes(Path(stranger[f"client.{name}"]).read_bytes())
    Path(made["stranger.key"]).chmod(0o600)
    return made


@pytest.fixture(scope="module")
def beam(cluster: Cluster, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beam]:
    """A project for each way in."""
    upstream = f"postgresql://127.0.0.1:{cluster.port}/{DATABASE}"
    socket = f"postgresql:///{DATABASE}?host={cluster.folder}&port={cluster.port}"
    names = {"deploy": ["app", "reports"], r"/^(.*)@example\.com$": r"\1"}
    with tempfile.TemporaryDirectory(prefix="pgb") as folder:
        Path(folder).chmod(0o755)
        running = Beam(
            cluster,
            "transaction",
            tmp_path_factory.mktemp("beam"),
            settings={"tls": files.settings(client_ca=files["ca.crt"]), "unix_socket_mode": "0777"},
            more_projects={
                "cert": {"upstream": upstream, "auth": "cert"},
                "cert-map": {"upstream": upstream, "auth": "cert", "user_map": names},
                "peer": {"upstream": upstream, "auth": "peer"},
                "peer-map": {"upstream": upstream, "auth": "peer", "user_map": {"root": ["app"], "/^no(.*)$": "all"}},
                "socket": {"upstream": socket},
            },
            folder_of_sockets=folder,
        )
        yield running
        running.stop()


def psql(beam: Beam, user: str, project: str, *, as_user: str | None = None, **more: Any) -> str:
    """What psql prints: the session's user, or the error."""
    found = installation(15)
    if found is None:
        pytest.skip("psql with TLS is not installed here")
    given = {"host": "localhost", "port": beam.port, "user": user, "dbname": DATABASE, "options": f"project={project}"}
    text = " ".join(f"{key}='{value}'" for key, value in {**given, **more}.items())
    who = pwd.getpwnam(as_user) if as_user else None
    done = subprocess.run(
        [found.program("psql"), "-X", "-w", text, "-Atc", "SELECT session_user"],
        check=False, capture_output=True, text=True, timeout=30, cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere"},
        user=None if who is None else who.pw_uid, group=None if who is None else who.pw_gid,
        extra_groups=None if who is None else [],
    )  # fmt: skip
    return done.stdout.strip() or done.stderr.strip()


@pytest.mark.parametrize(
    ("project", "certificate", "user", "said"),
    [
        ("cert", "client", "app", "app"),  # the common name
        ("cert", "by_mail", "reports@example.com", 'role "reports@example.com" does not exist'),  # is who it says
        ("cert", "client", "reports", 'certificate authentication failed for user "reports"'),
        ("cert", "", "app", "connection requires a valid client certificate"),
        ("cert", "stranger", "app", "unknown ca"),
        ("cert-map", "deploy", "app", "app"),
        ("cert-map", "deploy", "reports", "reports"),
        ("cert-map", "deploy", "deploy", 'certificate authentication failed for user "deploy"'),
        ("cert-map", "by_mail", "reports", "reports"),  # by an alternative name and a regular expression
        ("cert-map", "by_mail", "app", 'certificate authentication failed for user "app"'),
        ("cert-map", "client", "app", "app"),  # app@example.com is among its names
    ],
)
def test_a_certificate_is_who_a_client_is(
    beam: Beam, files: Files, project: str, certificate: str, user: str, said: str
) -> None:
    """psql with that certificate is let in as whom it names, or as whom the map lets it be, and as nobody else."""
    own = {"sslcert": files[f"{certificate}.crt"], "sslkey": files[f"{certificate}.key"]} if certificate else {}
    assert said in psql(beam, user, project, sslmode="verify-full", sslrootcert=files["ca.crt"], **own)


def test_a_certificate_is_nothing_without_tls(beam: Beam) -> None:
    """There is none to be shown."""
    assert "connection requires a valid client certificate" in psql(beam, "app", "cert", sslmode="disable")


@pytest.mark.parametrize(
    ("project", "system", "user", "said"),
    [
        ("peer", "root", "root", "root"),
        ("peer", "root", "app", 'Peer authentication failed for user "app"'),
        ("peer", "nobody", "root", 'Peer authentication failed for user "root"'),
        ("peer-map", "root", "app", "app"),
        ("peer-map", "root", "root", 'Peer authentication failed for user "root"'),
        ("peer-map", "nobody", "reports", "reports"),
    ],
)
def test_a_user_of_the_system_is_who_a_client_is(beam: Beam, project: str, system: str, user: str, said: str) -> None:
    """By a real socket, as PostgreSQL's peer: as oneself, or as whom the map lets one be."""
    if os.geteuid():
        pytest.skip("only root may be two users")
    more = {"host": beam.folder_of_sockets, "port": SOCKET_PORT}
    assert said in psql(beam, user, project, as_user=None if system == "root" else system, **more)


def test_nobody_is_a_user_of_the_system_over_tcp(beam: Beam) -> None:
    """Peer is for sockets."""
    assert 'Peer authentication failed for user "root"' in psql(beam, "root", "peer")


def test_the_server_may_ask_the_system_who_pgbeam_is(beam: Beam) -> None:
    """Peer between PgBeam and PostgreSQL: it lets PgBeam's own user in, as itself or by its map, and refuses others."""
    if os.geteuid():
        pytest.skip("pg_hba.conf speaks of root")
    for user in ("root", "mapped"):
        assert psql(beam, user, "socket") == user


@pytest.mark.parametrize(
    ("user", "said"),
    [("by_ident", "Ident authentication failed"), ("rejected", "pg_hba.conf rejects connection")],
)
@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_what_the_server_refuses_is_told_in_its_words(beam: Beam, user: str, said: str, sslmode: str) -> None:
    """pg_hba.conf decides in passthrough."""
    for _ in range(2):
        assert said in psql(beam, user, "shop", sslmode=sslmode)


def test_a_mechanism_that_pgbeam_does_not_know_is_relayed(beam: Beam) -> None:
    """OAUTHBEARER of PostgreSQL 18: offer, token and error go through, as direct."""
    if beam.cluster.version < 18:
        pytest.skip("from PostgreSQL 18 on")
    told = []
    for port in (beam.cluster.port, beam.port):
        client = WireClient(port)
        options = {} if port == beam.cluster.port else {"options": "project=shop"}
        client.send(frames.startup({"user": "by_token", "database": DATABASE, **options}, frames.PROTOCOL_3_0))
        offer = client.frame()
        assert offer.body[4:] == b"OAUTHBEARER\0\0"
        client.send(SASLInitialResponse(b"OAUTHBEARER", b"n,,\x01auth=Bearer a.token\x01\x01").to_bytes())
        last = client.frame()
        while last.tag != b"E":
            last = client.frame()
        told.append({key: text for key, text in error_fields(last.body).items() if key in "SCM"})
        client.close()
    assert told[0] == told[1]
    assert "a.token" not in beam.log
