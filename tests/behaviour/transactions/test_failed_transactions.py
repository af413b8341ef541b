"""Prepared statements in a failed transaction, on a server that has none of them: told what PostgreSQL tells."""

from __future__ import annotations

import time

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.wireclient import Frame, WireClient, error_fields

pytestmark = [pytest.mark.pg, pytest.mark.newest]

TEXTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "select": ("SELECT id FROM products WHERE id = 1", ()),
    "update": ("UPDATE products SET name = $2 WHERE id = $1", (23, 25)),
    "untyped": ("UPDATE products SET name = name WHERE id = $1", ()),
    "returning": ("DELETE FROM products WHERE id = -1 RETURNING id", ()),
    "set": ("SET work_mem = '1MB'", ()),
    "lock": ("LOCK TABLE products", ()),
    "listen": ("LISTEN news", ()),
    "values": ("VALUES (1)", ()),
    "empty": ("", ()),
    "rollback": ("ROLLBACK", ()),
    "rollback_to": ("ROLLBACK TO sp", ()),
    "release": ("RELEASE sp", ()),
    "begin": ("BEGIN", ()),
    "deallocate": ("DEALLOCATE x", ()),
    "vacuum": ("VACUUM", ()),
}


def _requests(name: str) -> list[bytes]:
    text, types = TEXTS[name]
    values = [b"1"] * text.count("$")
    return [
        frames.describe(name, b"S"),
        frames.bind(*values, statement=name) + frames.describe() + frames.execute(),
        frames.bind(*values, statement=name, formats=(0, 1, 0, 0)),
        frames.parse(text, name, types),
        frames.close(name) + frames.parse(text, name, types) + frames.describe(name, b"S"),
        frames.extended("ROLLBACK TO sp") + frames.describe(name, b"S"),
    ]


def _comparable(received: list[Frame]) -> list[tuple[bytes, object]]:
    fields = ("S", "C", "M")
    return [
        (frame.tag, [error_fields(frame.body).get(field) for field in fields] if frame.tag in b"EN" else frame.body)
        for frame in received
    ]


def _fail(client: WireClient, *, kept_back: bool) -> None:
    """A failed transaction with a savepoint. What begins it may still meet a server that has been ended."""
    texts = ["BEGIN", *([] if kept_back else ["SET LOCAL work_mem = '2MB'"]), "SAVEPOINT sp"]
    for _ in range(5):
        if all(client.ask(frames.query(text))[-1].body == b"T" for text in texts):
            break
        client.ask(frames.query("ROLLBACK"))
    assert client.ask(frames.query("SELECT 1/0"))[-1].body == b"E"


def _played(client: WireClient, cluster: Cluster, *, kept_back: bool, lost: bool) -> list[list[tuple[bytes, object]]]:
    """What comes of all requests. lost: the server goes away before, and another one takes its place."""
    for name, (text, types) in TEXTS.items():
        client.ask(frames.parse(text, name, types) + frames.sync())
    client.ask(frames.describe("untyped", b"S") + frames.sync())
    seen = []
    for name in TEXTS:
        for request in _requests(name):
            if lost:
                _end_servers(cluster)
            _fail(client, kept_back=kept_back)
            seen.append(_comparable(client.ask(request + frames.sync())))
            client.ask(frames.query("ROLLBACK"))
            client.ask(frames.close(name) + frames.parse(*_parsed(name)) + frames.sync())
    return seen


def _parsed(name: str) -> tuple[str, str, tuple[int, ...]]:
    text, types = TEXTS[name]
    return text, name, types


def _end_servers(cluster: Cluster) -> None:
    found = "FROM pg_stat_activity WHERE application_name = 'failing' AND state = 'idle'"
    with cluster.connect() as boss:
        boss.execute(f"SELECT pg_terminate_backend(pid) {found}".encode())
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and boss.execute(f"SELECT 1 {found}".encode()).fetchone():
            time.sleep(0.002)


@pytest.mark.parametrize("kept_back", [True, False], ids=["kept back", "real"])
def test_a_server_that_lacks_them_changes_nothing(
    cluster: Cluster, shared_beam: BeamFactory, fresh_shop: None, *, kept_back: bool
) -> None:
    """Parse, Bind, Describe and Close of statements of all kinds, on a server that has just been opened."""
    place = shared_beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 1}}})
    with Direct(cluster).wire() as direct:
        expected = _played(direct, cluster, kept_back=kept_back, lost=False)
    with place.wire(parameters={"application_name": "failing"}) as client:
        assert _played(client, cluster, kept_back=kept_back, lost=True) == expected
