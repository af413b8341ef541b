"""What is written for other processes: its format, and the folder it is in."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.storage.async_store import AsyncStore
from pgbeam_cache.storage.disk import DiskStore
from pgbeam_cache.storage.packing import MAGIC, Corrupt, Packed, pack, unpack
from pgbeam_cache.storage.second_level import open_second
from pgbeam_core import Answer
from tests.plugins.cache.levels import AtOnce, on_disk
from tests.plugins.cache.test_second_level import ask
from tests.plugins.cache.worlds import World

KEY = bytes(range(32))
PACKED = Packed(Answer(b"T\0\0\0\x06\0\0", b"D" * 100, b"C\0\0\0\x0dSELECT 1\0"), 1234.5, (1, 2**63, 3))


@given(st.none() | st.binary(), st.binary(), st.binary(), st.floats(0, 1e12), st.lists(st.integers(0, 2**64 - 1)))
def test_what_is_packed_comes_back(
    description: bytes | None, rows: bytes, complete: bytes, born: float, versions: list[int]
) -> None:
    """Whatever bytes a reply is made of."""
    packed = Packed(Answer(description, rows, complete), born, tuple(versions))
    assert unpack(KEY, pack(KEY, packed)) == packed


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_is_noticed(place: int, change: int) -> None:
    """Wherever it is: it is corrupt, or another version."""
    data = bytearray(pack(KEY, PACKED))
    data[place % len(data)] ^= change
    with contextlib.suppress(Corrupt):
        assert unpack(KEY, bytes(data)) is None


def test_cut_off_or_under_another_key_it_is_corrupt() -> None:
    """A reply is never taken for that of another request."""
    data = pack(KEY, PACKED)
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            unpack(KEY, data[:length])
    with pytest.raises(Corrupt):
        unpack(bytes(32), data)


def test_another_version_is_a_miss() -> None:
    """Not an error: after an upgrade the old replies are simply not there."""
    data = bytearray(pack(KEY, PACKED))
    data[len(MAGIC)] += 1
    assert unpack(KEY, bytes(data)) is None


def _shelf(store: DiskStore) -> AsyncStore:
    return AsyncStore(store, AtOnce(), Clock(), 0.1)


def test_it_survives_a_restart(tmp_path: Path) -> None:
    """A new PgBeam with the same folder has what the old one kept, large replies included."""
    one = on_disk(tmp_path)
    ask(one)
    ask(one, "SELECT * FROM users", "x" * 100_000)
    one.plugin.shutdown(one.beam)  # type: ignore[arg-type]
    other = on_disk(tmp_path)
    assert ask(other) == ask(other, "SELECT * FROM users") == "hit"


def test_the_folder_has_a_bound(tmp_path: Path) -> None:
    """What was kept longest gives way."""
    store = DiskStore(tmp_path, 1024 * 1024, 1.0)
    for number in range(1000):
        store.put(number.to_bytes(32), os.urandom(20_000), 60)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert size < 8 * 1024 * 1024  # its journal included
    assert store.get((999).to_bytes(32), ())[0] is not None
    assert store.get((0).to_bytes(32), ())[0] is None
    store.close()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """Whoever can write to the folder cannot make PgBeam run anything."""
    store = DiskStore(tmp_path, 1024 * 1024, 1.0)
    store.put(KEY, b"x", 60)
    (database,) = tmp_path.rglob("cache.db")
    evil = pickle.dumps(_Evil(tmp_path / "owned"))
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE Cache SET mode = 4, value = ?", [evil])
    connection.close()
    with pytest.raises(Corrupt):
        store.get(KEY, ())
    store.recover(Corrupt("test"))
    assert store.get(KEY, ()) == (None, None)
    assert not (tmp_path / "owned").exists()
    store.close()


class _Evil:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("damage", [b"nonsense" * 1000, b""])
def test_a_damaged_database_is_begun_anew(tmp_path: Path, damage: bytes) -> None:
    """Misses while it lasts, then all is well."""
    one = on_disk(tmp_path)
    ask(one)
    one.plugin.shutdown(one.beam)  # type: ignore[arg-type]
    (database,) = tmp_path.rglob("cache.db")
    database.write_bytes(damage)
    for extra in tmp_path.rglob("cache.db-*"):
        extra.unlink()
    world = on_disk(tmp_path)
    assert ask(world) == "miss"
    world.clock.advance(2)
    assert ask(world, "SELECT * FROM users") == "miss"
    world.clock.advance(2)
    assert ask(on_disk(tmp_path), "SELECT * FROM users") == "hit"


def test_a_folder_that_cannot_be_written_is_a_miss(tmp_path: Path) -> None:
    """The disk is full, or the folder is somebody else's."""
    (tmp_path / "file").write_text("")
    world = World()
    store = DiskStore(tmp_path / "file", 1024 * 1024, 1.0)
    shelf = _shelf(store)
    got: list[object] = []
    shelf.get(KEY, ()).addCallback(got.append)
    assert got == [(None, None)]
    assert shelf.counts["errors"] == 1
    assert world.run(world.session(), "SELECT 1") == "miss"


def test_without_room_for_the_board_the_second_level_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the start costs the second level, with a line in the log that says so, and nothing else."""

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    world = World()
    beam: Any = SimpleNamespace(
        reactor=world.clock, random=os.urandom, settings=SimpleNamespace(state_dir=tmp_path / "state")
    )
    with capturedLogs() as events:
        assert open_second(beam, CacheSettings()) is None
    (event,) = events
    text = formatEvent(event)
    assert "the second level of the cache is off" in text
    assert str(tmp_path / "state") in text
    assert "No space left on device" in text
