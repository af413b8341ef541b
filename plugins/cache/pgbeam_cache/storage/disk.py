"""The second level on disk: one folder for all workers of a host."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import diskcache

from pgbeam_cache.storage.packing import VERSION, Corrupt


class _Plain(diskcache.Disk):  # type: ignore[misc]
    """Keys and values are bytes. Whatever else a file may claim to hold is refused: nothing is unpickled."""

    def put(self, key: Any) -> tuple[Any, bool]:
        return sqlite3.Binary(key), True

    def get(self, key: Any, raw: bool) -> Any:
        if not raw:
            raise Corrupt("a key that PgBeam has not written")
        return bytes(key)

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        if read or not isinstance(value, bytes):
            raise TypeError("only bytes are stored")
        return super().store(value, False, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        if mode not in (diskcache.core.MODE_RAW, diskcache.core.MODE_BINARY):
            raise Corrupt("a value that PgBeam has not written")
        return super().fetch(mode, filename, value, read)


class DiskStore:
    """See `async_store.Backing`. Opened when it is first asked; every call may block and may raise anything."""

    def __init__(self, folder: Path, max_bytes: int, timeout: float) -> None:
        self._folder = folder / f"replies-{VERSION}"
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._cache: Any = None

    def get(self, key: bytes, slots: tuple[int, ...]) -> tuple[bytes | None, None]:
        """The bytes kept under a key. The versions are on the board."""
        return self._opened().get(key), None

    def put(self, key: bytes, data: bytes, seconds: float) -> None:
        """Keep them that long, in place of what was kept longest."""
        self._opened().set(key, data, expire=seconds)

    def wrote(self, slots: tuple[int, ...]) -> None:
        """Nothing to write: processes on one machine share the board itself."""

    def recover(self, error: Exception) -> None:
        """After an error: begin anew if the files are no good."""
        self.close()
        broken = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        if broken or isinstance(error, Corrupt):
            shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Let go of the files."""
        cache, self._cache = self._cache, None
        if cache is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                cache.close()

    def _opened(self) -> Any:
        if self._cache is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._cache = diskcache.Cache(
                str(self._folder),
                disk=_Plain,
                timeout=self._timeout,
                size_limit=self._max_bytes,
                sqlite_mmap_size=0,  # a file that is mapped and cut short by somebody else would end the process
                eviction_policy="least-recently-stored",  # the one whose reads do not write
            )
        return self._cache
