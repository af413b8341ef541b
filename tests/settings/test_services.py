"""`?service=NAME` in an upstream URL reads libpq's service file, as libpq does."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgbeam_core.settings import parse_upstream

FILE = """
# who is where
[other]
host=elsewhere
[shop]
host = spaced
[shop ]
host=ignored
[full]
host=db.example.com
port=5433
dbname=shop
user=app
password=a=b c
sslmode=verify-ca
connect_timeout=3
port=9
[full]
host=never
[socket]
host=/run/postgresql
[several]
host=a,b
port=1,2
target_session_attrs=read-write
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service file, and none of the system's."""
    path = tmp_path / "services"
    path.write_text(FILE)
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path / "etc"))
    return path


def test_all_that_it_says_is_taken() -> None:
    """The first section of the name and the first value of a key count; what PgBeam has no use for is passed over."""
    found = parse_upstream("postgresql:///?service=full", "shop")
    target = found.target
    assert (target.host, target.port, target.database, target.user) == ("db.example.com", 5433, "shop", "app")
    assert (target.sslmode, found.password) == ("verify-ca", "a=b c")
    assert "a=b c" not in repr(found)


def test_what_the_url_says_comes_first() -> None:
    """Part by part."""
    found = parse_upstream("postgresql://me:mine@near:7/mine?service=full&sslmode=disable", "shop")
    target = found.target
    assert (target.host, target.port, target.database, target.user) == ("near", 7, "mine", "me")
    assert (target.sslmode, found.password) == ("disable", "mine")
    assert parse_upstream("postgresql://near?service=full", "shop").target.port == 5433


def test_sockets_and_several_hosts() -> None:
    """Whatever a URL could say."""
    assert parse_upstream("postgresql:///shop?service=socket", "shop").target.host == "/run/postgresql"
    several = parse_upstream("postgresql:///shop?service=several&sslmode=disable", "shop").target
    assert several.hosts == (("a", 1), ("b", 2))
    assert several.session_attrs == "read-write"


def test_a_file_of_the_system_is_looked_at_too(tmp_path: Path) -> None:
    """Behind the user's own, which may have others."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pg_service.conf").write_text("[far]\nhost=far\n[full]\nhost=not this one\n")
    assert parse_upstream("postgresql:///?service=far", "shop").target.host == "far"
    assert parse_upstream("postgresql:///?service=full", "shop").target.host == "db.example.com"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[other]\nhost=a\n", 'definition of service "shop" not found in '),
        ("[shop]\nhost\n", "line 2 of the service file "),
        ("[shop]\nservice=other\n", "services cannot be nested"),
        ("[shop]\nuser=a\n", "names no host"),
        ("[shop]\nhost=a\nport=many\n", "is no port"),
        ("[shop]\nhost=a\nsslmode=maybe\n", "unknown sslmode maybe"),
        (b"[shop]\nhost=\xff\n", "is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said(file: Path, text: str | bytes, problem: str) -> None:
    """With the file, and the line where there is one."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=problem):
        parse_upstream("postgresql:///?service=shop", "shop")
