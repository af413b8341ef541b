"""A server of a pool is in one state, and every count comes from that."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pgbeam_pool.states import Servers
from tests.plugins.pool.machinery import ANNA, BOB, FakeServer


def server(identity: Any = ANNA, **settings: str) -> Any:
    """One that has been told these settings."""
    made = FakeServer(identity, 0.0, reproducible=True)
    made.settings = settings
    return made


def collections(servers: Servers) -> list[Any]:
    """All servers that stand in some collection."""
    lists = [*servers.idle.values(), *servers.shared.values()]
    return [each for some in lists for each in some] + [*servers.leased, *servers.returning]


MOVES = ("leased", "returning", "idle", "taken", "shared", "gone")


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(MOVES))))
def test_a_server_is_in_one_collection(moves: list[tuple[int, str]]) -> None:
    """Wherever it was before, and however often it has been there; one that is gone is nowhere."""
    servers = Servers()
    all_of_them = [server(ANNA), server(ANNA), server(BOB), server(BOB)]
    there: dict[Any, str] = {}
    for number, move in moves:
        moved = all_of_them[number]
        if move == "gone":
            servers.remove(moved)
            there.pop(moved, None)
        elif move in ("taken", "shared"):
            taken = servers.take(moved.identity, {}, shared=move == "shared")
            assert (taken is None) == ((moved.identity, "idle") not in {(o.identity, s) for o, s in there.items()})
            if taken is not None:
                there[taken] = move
        else:
            {"leased": servers.to_leased, "returning": servers.to_returning, "idle": servers.to_idle}[move](moved)
            there[moved] = move
        assert sorted(map(id, collections(servers))) == sorted(map(id, there)) == sorted(map(id, servers.open))
        assert len(servers) == len(there)
        assert servers.idle_of(ANNA) == sum(s == "idle" and one.identity == ANNA for one, s in there.items())
        assert servers.count(BOB) == sum(one.identity == BOB for one in there)
        assert all(servers.shared.values()), "no empty lists are kept"


def test_one_that_has_the_settings_is_preferred() -> None:
    """Else the one that was used last is taken, unless only the same settings will do."""
    servers = Servers()
    plain, other, last = server(), server(search_path="a"), server(search_path="b")
    for each in (plain, other, last):
        servers.to_idle(each)
    assert servers.take(ANNA, {"search_path": "a"}, shared=True, exactly=True) is other
    assert servers.take(ANNA, {"search_path": "c"}, shared=True, exactly=True) is None
    assert servers.take(ANNA, {"search_path": "c"}) is last
    assert servers.shared == {ANNA: [other]}
    assert servers.leased == {last}
    assert servers.take(BOB, {}) is None


def test_an_identity_that_has_no_server_any_more_is_forgotten() -> None:
    """Names that clients have come by do not add up."""
    servers = Servers()
    one = server()
    servers.to_idle(one)
    assert servers.take(ANNA, {}) is one
    servers.remove(one)
    assert (servers.idle, servers.shared, len(servers)) == ({}, {}, 0)
