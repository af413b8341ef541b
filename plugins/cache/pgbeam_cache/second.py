"""The second level and the board, as the settings have them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_cache.boards import Board, shared
from pgbeam_cache.disk import DiskStore
from pgbeam_cache.packing import Corrupt, Packed, Stamps, pack, unpack
from pgbeam_cache.remote import Listener, RemoteStore
from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.shelf import Got, Shelf, Thread
from pgbeam_core import Answer, Beam

log = Logger(__name__)

FOLDER = "cache"
"""Under `state_dir`."""


class Found:
    """What the second level had: a reply, perhaps, and the stamps of now where only it knows them."""

    __slots__ = ("packed", "tokens")

    def __init__(self, packed: Packed | None, tokens: Stamps | None) -> None:
        self.packed = packed
        self.tokens = tokens


class SecondLevel:
    """Shares replies, and the news of writes, with other processes."""

    def __init__(self, board: Board, shelf: Shelf, *, remote: bool, wall: Callable[[], float] = time.time) -> None:
        self.board = board
        self.remote = remote
        """The stamps of its replies are its own, not those of the board."""
        self.hits = 0
        self.outdated = 0
        self.wall = wall
        """Seconds since 1970."""
        self.listener: Listener | None = None
        self._shelf = shelf

    def look(self, key: bytes, slots: tuple[int, ...], stamps: Stamps) -> Deferred[Found]:
        """What it has under a key, if nothing was written since. Never fails. `stamps`: of the board, before this."""
        return self._shelf.get(key, slots).addCallback(self._found, key, stamps)

    def keep(self, key: bytes, answer: Answer, born: float, stamps: Stamps, seconds: float) -> None:
        """Keep a reply. `born` by the wall clock."""
        self._shelf.put(key, pack(key, Packed(answer, born, stamps)), seconds)

    def wrote(self, slots: tuple[int, ...]) -> None:
        """Let all processes know."""
        self.board.wrote(slots)
        if self.remote:
            self._shelf.wrote(slots)

    def close(self) -> None:
        """Let go of everything."""
        if self.listener is not None:
            self.listener.close()
        self._shelf.close()
        self.board.close()

    def stats(self) -> dict[str, int]:
        """Counters."""
        counts = self._shelf.counts
        return {"hits": self.hits, "outdated": self.outdated} | {
            name: counts[name] for name in ("errors", "timeouts", "skipped")
        }

    def _found(self, got: Got, key: bytes, stamps: Stamps) -> Found:
        data, tokens = got
        if data is None:
            return Found(None, tokens)
        try:
            packed = unpack(key, data)
        except Corrupt as error:
            self._shelf.failed(error)
            return Found(None, tokens)
        if packed is not None and packed.stamps != (stamps if tokens is None else tokens):
            self.outdated += 1
            packed = None
        return Found(packed, tokens)


def open_second(beam: Beam, settings: CacheSettings) -> SecondLevel | None:
    """As the settings have it; None for off. Opens no connection, and no file but the board."""
    if settings.l2 == "off":
        return None
    reactor: Any = beam.reactor
    if settings.l2 == "disk":
        folder = beam.settings.state_dir / FOLDER
        store = DiskStore(folder, settings.l2_bytes, settings.l2_timeout_s)
        shelf = Shelf(store, Thread(reactor), reactor, settings.l2_timeout_s)
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
    board = Board(beam.random)
    shelf = Shelf(RemoteStore(settings.l2, beam.random), Thread(reactor), reactor, settings.l2_timeout_s)
    second = SecondLevel(board, shelf, remote=True)
    second.listener = Listener(settings.l2, board.wrote, board.wrote_everything)
    second.listener.start()
    return second
