"""What a rule would have given is what it gives, on the same traffic, and costs a bounded amount of memory."""

from __future__ import annotations

import random
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbeam_cache.policy.forecast import Forecast, forecast, merged
from pgbeam_cache.policy.traffic import MOST, NEVER, WINDOW_S, RecentTraffic
from pgbeam_cache.surface import selection
from pgbeam_core import PgBeamError
from tests.plugins.cache.test_rules import rules_in
from tests.plugins.cache.worlds import World


def played(events: list[tuple[int, int, int]], ttl: int, swr: int) -> tuple[int, int, int]:
    """(hits, executions on a server, age of the oldest reply given) by a cache that is plain to see through."""
    entries: dict[int, tuple[int, int]] = {}
    hits = asked = oldest = 0
    for second, key, written in events:
        entry = entries.get(key)
        age = second - entry[0] if entry is not None and entry[1] == written else None
        if age is not None and (age < ttl or age < ttl + swr):
            hits += 1
            oldest = max(oldest, age)
            if age >= ttl and age > 0:
                asked += 1
                entries[key] = (second, written)
        else:
            asked += 1
            entries[key] = (second, written)
    return hits, asked, oldest


def came(traffic: RecentTraffic, second: int, key: int, written: int) -> None:
    """A request, as the cache remembers it."""
    if traffic.counted(second, key):
        traffic.put(second, key, written)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.booleans()), max_size=200),
    st.integers(1, 20),
    st.integers(0, 20),
)
def test_what_is_foretold_is_what_a_cache_does(steps: list[tuple[int, int, bool]], ttl: int, swr: int) -> None:
    """Hits, misses, refreshes and ages, with writes between, request for request."""
    traffic, second, written, events = RecentTraffic(), 100, 0, []
    for wait, key, write in steps:
        second += wait
        written += write
        events.append((second, key, written))
        came(traffic, second, key, written)
    found = forecast(traffic, second + 1, ttl, swr)
    lately = [event for event in events if event[0] > second + 1 - WINDOW_S]
    if len(lately) == len(events) and not traffic.mask:
        assert (found.hits, found.asked, found.oldest) == played(events, ttl, swr)
        assert found.calls == len(events)


def test_one_hot_request_is_seen_for_minutes() -> None:
    """A thousand calls a second take a place a second: what is asked often does not push out what was before."""
    traffic = RecentTraffic()
    for second in range(300):
        for _ in range(1000):
            came(traffic, second, 8, 0)
    found = forecast(traffic, 300, 60, 0)
    assert found.seconds >= 250
    assert found.ratio == pytest.approx(1 - 5 / found.calls, abs=0.001)
    assert found.oldest == 59


def test_many_requests_are_listed_by_their_share() -> None:
    """With thousands of different requests some stand for all: the ratio is near the true one, within the bound."""
    chance = random.Random(7)
    traffic, events = RecentTraffic(), []
    for second in range(120):
        for _ in range(100):
            key = hash((b"key", min(int(chance.paretovariate(0.7)), 5000)))
            came(traffic, second, key, 0)
            events.append((second, key, 0))
    assert len(traffic) <= MOST
    assert traffic.mask > 0
    found = forecast(traffic, 120, 60, 0)
    since = 120 - found.seconds
    recent = [event for event in events if event[0] >= since]
    hits, _, _ = played(recent, 60, 0)
    assert found.ratio == pytest.approx(hits / len(recent), abs=0.15)


@pytest.mark.parametrize("writes", [0, 1, 12])
@pytest.mark.parametrize("skew", [0.7, 1.0, 1.5])
def test_a_few_hot_requests_among_many_are_not_lost(writes: int, skew: float) -> None:
    """Whether those that come most often are among the listed ones or not, and whatever is written meanwhile."""
    chance = random.Random(11)
    for salt in (b"a", b"b", b"c"):
        traffic, events, written = RecentTraffic(), [], 0
        for second in range(100, 160):
            for call in range(480):
                written += bool(writes and call % (480 // writes) == 0)
                key = key_of(salt, int(min(chance.paretovariate(skew), 10_000)))
                came(traffic, second, key, written)
                events.append((second, key, written))
        found = forecast(traffic, 160, 60, 0)
        recent = [event for event in events if event[0] >= 160 - found.seconds]
        hits, _, _ = played(recent, 60, 0)
        assert found.ratio == pytest.approx(hits / len(recent), abs=0.2)


def key_of(salt: bytes, number: int) -> int:
    """The same in every run."""
    return int.from_bytes(blake2b(salt + number.to_bytes(8), digest_size=7).digest())


def test_memory_is_bounded_whatever_comes() -> None:
    """Any traffic stays within its places."""
    chance = random.Random(3)
    traffic = RecentTraffic()
    for number in range(50_000):
        came(traffic, number // chance.choice((1, 50, 3000)), chance.choice((8, chance.getrandbits(60))), number // 999)
        assert len(traffic) <= MOST


def test_what_no_rule_could_answer_counts_against_it() -> None:
    """Reads inside of transactions go to the server, whatever the rule."""
    traffic = RecentTraffic()
    for _ in range(30):
        came(traffic, 5, NEVER, 0)
    for _ in range(10):
        came(traffic, 5, 8, 0)
    found = forecast(traffic, 6, 60, 0)
    assert (found.calls, found.hits, found.asked) == (40, 9, 31)


def test_workers_are_summed() -> None:
    """Counts add up, the oldest is the oldest of all."""
    assert merged([Forecast(10, 5, 3, 2, 7), Forecast(20, 1, 0, 1, 0)]) == Forecast(20, 6, 3, 3, 7)


class Foretelling:
    """A world whose dashboard is on."""

    def __init__(self, tmp_path: Any, **more: Any) -> None:
        self.world = World(enabled=False, **more)
        cache = self.world.plugin.cache
        cache.rules = rules_in(tmp_path, self.world.clock)
        cache.samples._foretells = True
        self.cache = cache

    def page(self, **request: Any) -> Any:
        """What is shown of the shapes."""
        got: list[Any] = []
        selection.selected(self.cache, request).addBoth(got.append)
        for _ in range(50):
            self.world.clock.advance(0)
        return selection.page(got)


@pytest.fixture
def foretelling(tmp_path: Any) -> Foretelling:
    return Foretelling(tmp_path)


def test_a_shape_tells_what_a_rule_would_have_given(foretelling: Foretelling) -> None:
    """For the seconds that are asked about, before any rule is there; a write in between counts."""
    world = foretelling.world
    for _ in range(10):
        world.run(world.session(), "SELECT * FROM products WHERE id = 1")
        world.clock.advance(1)
    (shape,) = foretelling.page(ttl=60, swr=0)["shapes"]
    assert (shape["what_if"]["hits"], shape["what_if"]["asked"]) == (9, 1)
    assert shape["what_if"]["oldest_s"] == 9
    (shape,) = foretelling.page(ttl=2, swr=0)["shapes"]
    assert (shape["what_if"]["hits"], shape["what_if"]["asked"]) == (5, 5)


def test_without_the_dashboard_nothing_is_remembered(tmp_path: Any) -> None:
    """What nobody can look at costs nothing."""
    world = World(enabled=False)
    world.run(world.session(), "SELECT * FROM products WHERE id = 1")
    (shape,) = world.plugin.cache.shapes
    assert shape.traffic is None


@pytest.mark.parametrize("sort", selection.SORTS)
def test_shapes_come_in_any_order_and_in_pages(foretelling: Foretelling, sort: str) -> None:
    """Each once, however they are sorted and cut."""
    world = foretelling.world
    for number, table in enumerate(("products", "users", "orders", "categories")):
        for _ in range(number + 1):
            world.run(world.session(), f"SELECT * FROM {table}")
    whole = foretelling.page(sort=sort)
    assert whole["total"] == 4
    halves = [foretelling.page(sort=sort, limit=2, offset=offset)["shapes"] for offset in (0, 2)]
    hashes = [shape["query_hash"] for half in halves for shape in half]
    assert hashes == [shape["query_hash"] for shape in whole["shapes"]]
    if sort == "calls":
        assert [shape["calls"] for shape in whole["shapes"]] == [4, 3, 2, 1]
    assert [shape["query"] for shape in foretelling.page(search="USERS")["shapes"]] == ["SELECT * FROM users"]
    assert foretelling.page(project="nowhere")["shapes"] == []


@pytest.mark.parametrize("wrong", [{"sort": "x"}, {"limit": -1}, {"ttl": "60"}, {"offset": True}, {"limit": 501}])
def test_wrong_wishes_are_told(wrong: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(PgBeamError, match=next(iter(wrong))):
        selection.wanted(wrong)
