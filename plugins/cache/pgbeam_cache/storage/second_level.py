"""The second level and the board, as the settings have them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.storage.async_store import AsyncStore, Got, Thread
from pgbeam_cache.storage.disk import DiskStore
from pgbeam_cache.storage.packing import Corrupt, Packed, Versions, pack, unpack
from pgbeam_cache.storage.remote import Listener, RemoteStore
from pgbeam_cache.storage.version_table import VersionTable, shared
from pgbeam_core import Answer, Beam

log = Logger(__name__)

FOLDER = "cache"
"""Under `state_dir`."""


class SecondLevelResult:
    """What the second level had: a reply, perhaps, and the versions of now where only it knows them."""

    __slots__ = ("packed", "tokens")

    def __init__(self, packed: Packed | None, tokens: Versions | None) -> None:
        self.packed = packed
        self.tokens = tokens


class SecondLevel:
    """Shares replies, and the news of writes, with other processes."""

    def __init__(
        self, board: VersionTable, shelf: AsyncStore, *, remote: bool, wall: Callable[[], float] = time.time
    ) -> None:
        self.board = board
        self.remote = remote
        """The versions of its replies are its own, not those of the board."""
        self.hits = 0
        self.outdated = 0
        self.wall = wall
        """Seconds since 1970."""
        self.listener: Listener | None = None
        self._shelf = shelf

    def look(self, key: bytes, slots: tuple[int, ...], versions: Versions) -> Deferred[SecondLevelResult]:
        """What it has under a key, if nothing was written since. Never fails. `versions`: of the board, before this."""
        return self._shelf.get(key, slots).addCallback(self._found, key, versions)

    def keep(self, key: bytes, answer: Answer, born: float, versions: Versions, seconds: float) -> None:
        """Keep a reply. `born` by the wall clock."""
        self._shelf.put(key, pack(key, Packed(answer, born, versions)), seconds)

    def wrote(self, slots: tuple[int, ...]) -> None:
        self.board.wrote(slots)
        if self.remote:
            self._shelf.wrote(slots)

    def close(self) -> None:
        if self.listener is not None:
            self.listener.close()
        self._shelf.close()
        self.board.close()

    def stats(self) -> dict[str, int]:
        counts = self._shelf.counts
        return {"hits": self.hits, "outdated": self.outdated} | {
            name: counts[name] for name in ("errors", "timeouts", "skipped")
        }

    def _found(self, got: Got, key: bytes, versions: Versions) -> SecondLevelResult:
        data, tokens = got
        if data is None:
            return SecondLevelResult(None, tokens)
        try:
            packed = unpack(key, data)
        except Corrupt as error:
            self._shelf.failed(error)
            return SecondLevelResult(None, tokens)
        if packed is not None and packed.versions != (versions if tokens is None else tokens):
            self.outdated += 1
            packed = None
        return SecondLevelResult(packed, tokens)


def open_second(beam: Beam, settings: CacheSettings) -> SecondLevel | None:
    """As the settings have it; None for off. Opens no connection, and no file but the board."""
    if settings.l2 == "off":
        return None
    reactor: Any = beam.reactor
    if settings.l2 == "disk":
        folder = beam.settings.state_dir / FOLDER
        store = DiskStore(folder, settings.l2_bytes, settings.l2_timeout_s)
        shelf = AsyncStore(store, Thread(reactor), reactor, settings.l2_timeout_s)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            board = shared(folder / "board", beam.random)
        except OSError as error:
            log.error(
                "the second level of the cache is off, each process caches for itself, until the next start: "
                "cannot use {folder}: {error}",
                folder=str(folder),
                error=error.strerror or str(error),
            )
            return None
        return SecondLevel(board, shelf, remote=False)
    board = VersionTable(beam.random)
    shelf = AsyncStore(RemoteStore(settings.l2, beam.random), Thread(reactor), reactor, settings.l2_timeout_s)
    second = SecondLevel(board, shelf, remote=True)
    second.listener = Listener(settings.l2, board.wrote, board.wrote_everything)
    second.listener.start()
    return second
