"""New settings in a running PgBeam: what happens to projects, to their servers and to the clients that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from pgbeam_core import Beam, hookimpl
from pgbeam_core.testing import FakePostgres, Rehearsal, table
from pgbeam_limits import Limits
from pgbeam_pool import Pools

OLD, NEW = "primary:5432", "new:5432"
TO_NEW = {"upstream": f"postgresql://{NEW}?sslmode=disable"}
WHERE = "SELECT place FROM here"


@dataclass(frozen=True)
class Spec:
    """A plugin's settings."""

    loud: bool = False
    fixed: int = field(default=1, metadata={"restart": True})


class Listening:
    """A plugin that wants to know."""

    def __init__(self) -> None:
        self.heard: list[Spec] = []

    @hookimpl
    def settings_spec(self) -> type:
        return Spec

    @hookimpl
    def reload(self, beam: Beam) -> None:
        self.heard.append(beam.settings_of("listening"))


class Broken:
    """A plugin that cannot."""

    @hookimpl
    def reload(self) -> None:
        raise ValueError("no")


@pytest.fixture
def rehearse() -> Iterator[Callable[..., Rehearsal]]:
    """rehearse(plugins, settings=…) has two servers, only one of which is in the settings."""
    made: list[Rehearsal] = []

    def rehearse(plugins: dict[str, object] | None = None, **more: Any) -> Rehearsal:
        servers = {place: FakePostgres({WHERE: table(["place"], [(place,)])}) for place in (OLD, NEW)}
        made.append(Rehearsal({"pool": Pools(), **(plugins or {})}, servers=servers, **more))
        return made[-1]

    yield rehearse
    for rehearsal in made:
        rehearsal.close()


def servers(rehearsal: Rehearsal) -> dict[str, int]:
    """How many servers the pools have, by address."""
    pools: Any = rehearsal.beam.pools
    return {target.address: len(pool.servers) for target, pool in pools.items()}


def test_a_new_primary_is_for_new_clients(rehearse: Callable[..., Rehearsal]) -> None:
    """Who is there stays with the old one; when the last of them leaves, its servers are closed."""
    rehearsal = rehearse()
    old = rehearsal.login()
    rehearsal.reload(project=TO_NEW)
    new = rehearsal.login()
    assert new.query(WHERE).rows == (((NEW),),)
    assert old.query(WHERE).rows == (((OLD),),)
    old.leave()
    rehearsal.pump()
    assert set(servers(rehearsal)) == {NEW}
    assert new.query(WHERE).rows == (((NEW),),)


def test_an_old_primary_without_clients_goes_at_once(rehearse: Callable[..., Rehearsal]) -> None:
    """Its idle servers are closed with the reload, and are not opened again."""
    rehearsal = rehearse(settings={"pool": {"min_idle": 2}})
    rehearsal.login().leave()
    rehearsal.pump()
    rehearsal.reload(settings={"pool": {"min_idle": 2}}, project=TO_NEW)
    assert servers(rehearsal) == {NEW: 0}
    rehearsal.login()
    rehearsal.advance(20)
    assert (len(rehearsal.servers[OLD].connections), rehearsal.servers[OLD].logins) == (0, 1)
    assert rehearsal.stats()["pool"]["pool"]["shop"]["servers"] >= 2


def test_a_project_that_changes_otherwise_keeps_its_servers(rehearse: Callable[..., Rehearsal]) -> None:
    """Another pool mode is for new clients; the servers stay as they are."""
    rehearsal = rehearse()
    first = rehearsal.login()
    before = servers(rehearsal)
    rehearsal.reload(project={"pool_mode": "session"})
    assert servers(rehearsal) == before
    second = rehearsal.login()
    assert {session.project.pool_mode for session in rehearsal.beam.sessions.values()} == {"transaction", "session"}
    assert first.query(WHERE).rows == second.query(WHERE).rows == (((OLD),),)


def test_fewer_servers_are_fewer_at_once(rehearse: Callable[..., Rehearsal]) -> None:
    """Idle ones too many are closed, those at work when they are idle again; a larger number holds at once, too."""
    rehearsal = rehearse(project={"lazy_transactions": "off"})
    clients = [rehearsal.login() for _ in range(4)]
    for client in clients[:3]:
        client.query("BEGIN")
    rehearsal.reload(settings={"pool": {"max_active": 2}})
    assert servers(rehearsal) == {OLD: 3}
    for client in clients[:3]:
        client.query("COMMIT")
    rehearsal.advance(6)
    assert servers(rehearsal) == {OLD: 2}
    rehearsal.reload(settings={"pool": {"max_active": 5}})
    for client in clients:
        client.query("BEGIN")
    assert servers(rehearsal) == {OLD: 4}


def test_limits_hold_at_once(rehearse: Callable[..., Rehearsal]) -> None:
    """For whoever comes next."""
    rehearsal = rehearse({"limits": Limits()})
    rehearsal.login()
    rehearsal.reload(settings={"limits": {"max_connections": 1}})
    assert rehearsal.login().refusal is not None


def test_plugins_are_told(rehearse: Callable[..., Rehearsal]) -> None:
    """With the new settings in place, but for those that need a restart; one that fails costs only itself."""
    listening = Listening()
    rehearsal = rehearse({"broken": Broken(), "listening": listening})
    rehearsal.reload(settings={"listening": {"loud": True, "fixed": 2}})
    assert listening.heard == [Spec(loud=True, fixed=1)]
    assert rehearsal.hooks.raised == {("reload", "broken"): 1}
