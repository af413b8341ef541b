"""An upstream whose host is a name, looked up as the system does: with a file of hosts of PgBeam's own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.relay import Relay
from tests.behaviour.wireclient import WireClient

from .trio import until

pytestmark = [pytest.mark.pg, pytest.mark.newest]

BIND = 'mount --bind "$0" /etc/hosts && exec "$@"'
HOST = "db.pgbeam.test"
OLD, NEW = "127.0.0.2", "127.0.0.3"


def own_hosts(hosts: Path) -> list[str]:
    """In front of a command: it and nobody else sees that file as /etc/hosts."""
    prefix = ["unshare", "--mount", "sh", "-c", BIND, str(hosts)]
    tried = [*prefix, "true"]
    if shutil.which("unshare") is None or subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("this user may not have a file of hosts of its own")
    return prefix


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """What names stand for."""
    file = tmp_path / "hosts"
    file.write_text(f"127.0.0.1 localhost\n{OLD} {HOST}\n")
    return file


@pytest.fixture
def relays(cluster: Cluster) -> Iterator[dict[str, Relay]]:
    """One at each address, on the same port."""
    old = Relay(cluster.port, host=OLD)
    new = Relay(cluster.port, host=NEW, port=old.port)
    yield {OLD: old, NEW: new}
    old.close()
    new.close()


@pytest.fixture
def beam(cluster: Cluster, hosts: Path, relays: dict[str, Relay], tmp_path: Path) -> Iterator[Beam]:
    """In front of the name."""
    project = {"upstream": f"postgresql://{HOST}:{relays[OLD].port}?sslmode=disable"}
    settings = {"dns_max_ttl_s": 1.0, "admin_users": ["app"]}
    made = Beam(cluster, "transaction", tmp_path, project=project, settings=settings, prefix=own_hosts(hosts))
    yield made
    made._end()
    assert not (complaints := made.complaints()), complaints[:3]


def asks(client: WireClient, sql: str) -> bytes:
    """The status after a query that succeeds."""
    reply = client.ask(frames.query(sql))
    assert not [frame for frame in reply if frame.tag == b"E"], reply
    return reply[-1].body


def known(beam: Beam) -> dict[str, str]:
    """SHOW DNS_HOSTS."""
    with psycopg.connect(beam.url(), dbname="pgbeam", autocommit=True) as console:
        return {name: addresses for name, _, addresses in console.execute("SHOW DNS_HOSTS").fetchall()}


def test_a_name_that_is_changed_is_followed_and_nobody_is_cut_off(
    beam: Beam, hosts: Path, relays: dict[str, Relay]
) -> None:
    """The name stands for another address: within `dns_max_ttl_s` new servers are opened there, idle ones at the old
    address are closed, and a transaction there goes on to its end."""
    old, new = relays[OLD], relays[NEW]
    with beam.wire() as busy, beam.wire() as other:
        assert asks(busy, "BEGIN; INSERT INTO orders (quantity) VALUES (1)") == b"T"
        assert asks(other, "SELECT 1") == b"I"
        assert (bool(old.lines), bool(new.lines)) == (True, False)
        hosts.write_text(f"127.0.0.1 localhost\n{NEW} {HOST}\n")
        until(lambda: len(old.lines) == 1, "idle servers at the old address are closed")
        until(lambda: asks(other, "SELECT 1") == b"I" and new.lines, "new ones are opened at the new one")
        assert known(beam) == {HOST: NEW}
        assert asks(busy, "SELECT 1; ROLLBACK") == b"I"
        until(lambda: not old.lines, "the last server at the old address is closed")
        assert asks(busy, "SELECT 1") == b"I"


def test_a_second_address_serves_when_the_first_is_dead(beam: Beam, hosts: Path, relays: dict[str, Relay]) -> None:
    """Two addresses, nobody listening at the first: clients notice nothing."""
    hosts.write_text(f"127.0.0.1 localhost\n127.0.0.9 {HOST}\n{NEW} {HOST}\n")
    with beam.wire() as client:
        assert asks(client, "SELECT 1") == b"I"
    assert relays[NEW].lines
