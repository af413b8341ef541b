"""TLS between PgBeam and real servers: each sslmode against pg_hba.conf rows that demand or forbid it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import DATABASE, Cluster, Installation, installation, start_cluster
from tests.net.certificates import Files

pytestmark = pytest.mark.pg

VERSIONS = (18, 15)
HBA = """\
local all all trust
host all boss 127.0.0.1/32 trust
hostssl all tls_only 127.0.0.1/32 trust
hostnossl all plain_only 127.0.0.1/32 trust
hostssl all app 127.0.0.1/32 cert
host all anybody 127.0.0.1/32 trust
"""
ROLES = ("tls_only", "plain_only", "anybody")
ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


def revocations(files: Files, *revoked: str) -> str:
    """A list of the CA's that names these certificates; its path."""
    key = serialization.load_pem_private_key(files.ca.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(files.ca.cert_pem.bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    builder = builder.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=1))
    for name in revoked:
        serial = x509.load_pem_x509_certificate(Path(files[f"{name}.crt"]).read_bytes()).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - timedelta(hours=1)).build()
        builder = builder.add_revoked_certificate(entry)
    path = files[f"revoked-{len(revoked)}.crl"]
    made: Any = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    Path(path).write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Certificates of the server, of PgBeam, and of strangers."""
    files = Files(tmp_path_factory.mktemp("certificates"))
    Files(tmp_path_factory.mktemp("strangers")).ca.cert_pem.write_to_path(files["stranger.crt"])
    revocations(files)
    revocations(files, "server")
    return files


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"pg{version}")
def cluster(request: pytest.FixtureRequest, folder: Files) -> Iterator[Cluster]:
    """A server with TLS."""
    found: Installation | None = installation(request.param)
    if found is None:
        pytest.skip(f"PostgreSQL {request.param} is not installed here")
    command = [found.program("pg_config"), "--configure"]
    if "ssl" not in subprocess.run(command, check=True, capture_output=True, text=True).stdout:
        pytest.skip(f"PostgreSQL {request.param} is built without TLS here")
    cluster = start_cluster(found)
    try:
        data = cluster.folder / "data"
        for name in ("server.crt", "server.key", "ca.crt"):
            shutil.copy(folder[name], data / name)
            shutil.chown(data / name, data.stat().st_uid, data.stat().st_gid)
        (data / "server.key").chmod(0o600)
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write("ssl = on\nssl_ca_file = 'ca.crt'\n")
        with cluster.connect() as boss:
            for role in ROLES:
                boss.execute(f"CREATE ROLE {role} LOGIN")
        (data / "pg_hba.conf").write_text(HBA)
        cluster.restart()
        yield cluster
    finally:
        cluster.stop()


def projects(cluster: Cluster, folder: Files) -> dict[str, dict[str, str]]:
    """One for each way to connect to the server."""
    root = folder["ca.crt"]
    own = {"sslcert": folder["client.crt"], "sslkey": folder["client.key"]}
    ways: dict[str, tuple[str, dict[str, str]]] = {
        **{mode: ("127.0.0.1", {"sslmode": mode}) for mode in ("disable", "allow", "prefer", "require")},
        "believed": ("127.0.0.1", {"sslmode": "require", "sslrootcert": root}),
        "disbelieved": ("127.0.0.1", {"sslmode": "require", "sslrootcert": folder["stranger.crt"]}),
        "ca": ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": root}),
        "full": ("localhost", {"sslmode": "verify-full", "sslrootcert": root}),
        "address": ("127.0.0.1", {"sslmode": "verify-full", "sslrootcert": root}),
        "other_name": ("127.1", {"sslmode": "verify-full", "sslrootcert": root}),
        "system": ("localhost", {"sslrootcert": "system"}),
        "own": ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": root, **own}),
        "kept": ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": root, "sslcrl": folder["revoked-0.crl"]}),
        "revoked": ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": root, "sslcrl": folder["revoked-1.crl"]}),
        "missing": ("127.0.0.1", {"sslmode": "verify-ca", "sslrootcert": folder["nowhere.crt"]}),
        "direct": ("127.0.0.1", {"sslmode": "require", "sslnegotiation": "direct"}),
        "no_sni": ("localhost", {"sslmode": "verify-ca", "sslrootcert": root, "sslsni": "0"}),
        "newest": ("127.0.0.1", {"sslmode": "require", "ssl_min_protocol_version": "TLSv1.3"}),
        "socket": ("", {"host": str(cluster.folder), "port": str(cluster.port), "sslmode": "verify-full"}),
    }
    return {
        name: {"upstream": f"postgresql://{host}:{cluster.port}/{DATABASE}?{urlencode(options, quote_via=quote)}"}
        if host
        else {"upstream": f"postgresql:///{DATABASE}?{urlencode(options, quote_via=quote)}"}
        for name, (host, options) in ways.items()
    }


@pytest.fixture(scope="module")
def beam(cluster: Cluster, folder: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beam]:
    """PgBeam with all these projects, and TLS of its own."""
    settings = {"tls": folder.settings(), "projects": projects(cluster, folder)}
    running = Beam(
        cluster, "transaction", tmp_path_factory.mktemp("beam"), settings=settings, project={"default": True}
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def ask(beam: Beam) -> Callable[[str, str], bool | str]:
    """Whether the server of a project is encrypted for a user, or the error."""

    def asked(project: str, user: str) -> bool | str:
        options = quote(f"project={project}")
        try:
            with psycopg.connect(f"{beam.url(user)}?options={options}", autocommit=True, connect_timeout=10) as client:
                row = client.execute(ENCRYPTED).fetchone()
                assert row is not None
                return bool(row[0])
        except psycopg.OperationalError as error:
            return str(error)

    return asked


@pytest.mark.parametrize(
    ("project", "user", "encrypted"),
    [
        ("disable", "anybody", False),
        ("disable", "plain_only", False),
        ("allow", "anybody", False),
        ("allow", "plain_only", False),
        ("allow", "tls_only", True),
        ("prefer", "anybody", True),
        ("prefer", "plain_only", False),
        ("prefer", "tls_only", True),
        ("require", "anybody", True),
        ("require", "tls_only", True),
        ("believed", "anybody", True),
        ("ca", "anybody", True),
        ("full", "anybody", True),
        ("address", "anybody", True),
        ("own", "app", True),
        ("kept", "anybody", True),
        ("no_sni", "anybody", True),
        ("newest", "anybody", True),
        ("socket", "anybody", False),
    ],
)
def test_each_sslmode_gets_where_libpq_gets(ask: Any, project: str, user: str, encrypted: bool) -> None:
    """Encrypted where it must be or may be, in clear where the server lets in only so."""
    assert ask(project, user) is encrypted


@pytest.mark.parametrize(
    ("project", "user", "words"),
    [
        ("disable", "tls_only", 'no pg_hba.conf entry for host "127.0.0.1", user "tls_only"'),
        ("require", "plain_only", 'no pg_hba.conf entry for host "127.0.0.1", user "plain_only"'),
        ("require", "app", "connection requires a valid client certificate"),
        ("disbelieved", "anybody", "SSL error: "),
        ("other_name", "anybody", "SSL error: "),
        ("system", "anybody", "SSL error: "),
        ("revoked", "anybody", "SSL error: certificate revoked"),
        ("missing", "anybody", "No such file or directory"),
    ],
)
def test_what_libpq_would_refuse_is_refused(ask: Any, project: str, user: str, words: str) -> None:
    """No server is trusted that should not be, and the error says why."""
    said = ask(project, user)
    assert isinstance(said, str)
    assert words in said


def test_tls_without_asking(ask: Any, cluster: Cluster) -> None:
    """sslnegotiation=direct works from PostgreSQL 17 on; an older server is named as the one that hung up."""
    said = ask("direct", "anybody")
    if cluster.version >= 17:
        assert said is True
    else:
        assert "could not connect to 127.0.0.1" in said


@pytest.mark.parametrize("options", ["sslmode=require&sslnegotiation=direct", "sslmode=verify-full&sslrootcert={ca}"])
def test_a_pgbeam_behind_a_pgbeam(beam: Beam, folder: Files, tmp_path: Path, options: str) -> None:
    """Both legs encrypted, large texts and results in both directions, session after session."""
    upstream = f"postgresql://localhost:{beam.port}/{DATABASE}?{options.format(ca=folder['ca.crt'])}"
    settings = {"tls": folder.settings(mode="require"), "plugins": {"pool": {"min_idle": 0}}}
    front = Beam(beam.cluster, "transaction", tmp_path, settings=settings, project={"upstream": upstream})
    try:
        for _ in range(3):
            with psycopg.connect(front.url("anybody"), sslmode="require", autocommit=True) as client:
                text = "x" * 3_000_000
                assert client.execute("SELECT %s || 'y'", [text]).fetchone() == (text + "y",)
    finally:
        front.stop()
