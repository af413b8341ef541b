"""Bounds, and what they cost whom."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pgbeam_cache.storage.store import OVERHEAD, Entry, Store
from pgbeam_core import Answer


def _entry(number: int, size: int = 100) -> Entry:
    entry = Entry(number.to_bytes(32), Answer(None, b"x" * size, b""), (), 0.0, 0)
    entry.useful_for(60)
    return entry


def _store(max_entries: int = 100, max_bytes: int = 10_000_000) -> Store:
    return Store(max_entries, max_bytes, lambda entry: entry.until <= 0)


def _ask(store: Store, number: int) -> bool:
    """Serve it, or fetch and keep it. Gives whether it was there."""
    entry = store.get(number.to_bytes(32))
    if entry is None:
        store.put(_entry(number))
        return False
    store.used(entry)
    return True


def test_a_scan_of_unique_queries_does_not_flush_what_is_used() -> None:
    """Ten times as many one-off queries as there is room for, and every popular reply is still there."""
    store = _store()
    for _ in range(3):
        for number in range(50):
            _ask(store, number)
    for number in range(1000, 2000):
        _ask(store, number)
    assert all(_ask(store, number) for number in range(50))


def test_a_scan_does_not_flush_even_what_it_outnumbers_between_two_uses() -> None:
    """Popular replies are asked for while the scan goes on, one in fifty queries."""
    store = _store()
    for number in range(20):
        _ask(store, number)
        _ask(store, number)
    found = 0
    for number in range(5000):
        _ask(store, 10_000 + number)
        if number % 50 == 0:
            found += _ask(store, number // 50 % 20)
    assert found == 100


def test_what_comes_back_soon_after_it_fell_out_stays() -> None:
    """A working set that grows past the short queue finds its place."""
    store = _store()
    for _ in range(10):
        for number in range(80):
            _ask(store, number)
    for number in range(500, 700):
        _ask(store, number)
    assert sum(_ask(store, number) for number in range(80)) == 80


def test_popularity_passes() -> None:
    """What was popular once gives way to what is popular now."""
    store = _store()
    for number in list(range(90)) * 4:
        _ask(store, number)
    for number in list(range(200, 290)) * 20:
        _ask(store, number)
    assert sum(_ask(store, number) for number in range(200, 290)) >= 80


def test_dead_entries_give_way_first() -> None:
    """An entry that nobody may be served with any more is not worth keeping, however popular it was."""
    store = _store(max_entries=10)
    for number in range(10):
        store.put(_entry(number))
        for _ in range(3):
            _ask(store, number)
    for number in range(5):
        entry = store.get(number.to_bytes(32))
        assert entry is not None
        entry.until = 0.0
    for number in range(20, 25):
        store.put(_entry(number))
    assert all(store.get(number.to_bytes(32)) for number in range(5, 10))


def test_a_reply_larger_than_everything_is_not_kept() -> None:
    """And costs nobody its place; an older one of the same key goes, because it is older."""
    store = _store(max_bytes=5_000)
    store.put(_entry(1))
    store.put(_entry(2))
    store.put(_entry(2, 5_000))
    assert store.get((1).to_bytes(32)) is not None
    assert store.get((2).to_bytes(32)) is None


@settings(max_examples=200)
@given(
    steps=st.lists(st.tuples(st.sampled_from("pppgr"), st.integers(0, 30), st.integers(0, 3000)), max_size=300),
    max_entries=st.integers(1, 20),
)
def test_the_bounds_hold_and_the_books_balance(steps: list[tuple[str, int, int]], max_entries: int) -> None:
    """After any history: entries and bytes within bounds, and bytes the sum of what is there."""
    store = _store(max_entries, max_bytes=12_000)
    for step, number, size in steps:
        entry = store.get(number.to_bytes(32))
        if step == "p":
            store.put(_entry(number, size))
        elif entry is not None:
            (store.used if step == "g" else store.remove)(entry)
        there = [found for key in range(31) if (found := store.get(key.to_bytes(32)))]
        assert len(there) == len(store) <= max_entries
        assert store.bytes == sum(found.size for found in there) <= 12_000
        assert all(found.size >= OVERHEAD for found in there)
