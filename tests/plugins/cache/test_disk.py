"""What is written for other processes, in a folder: it outlives PgBeam, has a bound, and is trusted no further."""

from __future__ import annotations

import errno
import os
import pickle
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.storage.async_store import AsyncStore
from pgbeam_cache.storage.disk import DiskStore
from pgbeam_cache.storage.packing import Corrupt
from pgbeam_cache.storage.second_level import open_second
from tests.plugins.cache.levels import AtOnce, on_disk
from tests.plugins.cache.test_second_level import ask
from tests.plugins.cache.worlds import World

KEY = bytes(range(32))


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
