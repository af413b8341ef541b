"""A file of JSON lines that only grows. Several processes may write to one: each line goes out whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.logger import Logger

log = Logger(__name__)

MOST_HELD = 1_000
"""Entries that wait to be written."""
WRITE_EVERY_S = 0.5


class Journal:
    """One process's hand on it. `number` counts the entries of this process, so that a gap shows."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._path: Path | None = None
        self._file: int | None = None
        self._held: list[bytes] = []
        self._complained = False
        self.number = 0
        self.lost = 0
        """Entries that could not be written."""

    def open(self, path: Path) -> None:
        """Write there from now on, also where another process has put a new file in its place."""
        self.close()
        self._path, self._complained = path, False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._complain(error)

    def add(self, entry: dict[str, Any]) -> None:
        """Have an entry written, in order; one too many while the disk is slow is dropped, and counted as lost."""
        self.number += 1
        if len(self._held) >= MOST_HELD:
            self.lost += 1
            return
        numbered = {"process": self._worker, "number": self.number, **entry}
        self._held.append(
            json.dumps(numbered, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        )

    def write(self) -> None:
        """Write what is held, as far as that can be."""
        held, self._held = self._held, []
        if not held:
            return
        if self._file is None:
            self.lost += len(held)
            return
        data = b"".join(held)
        try:
            written = os.write(self._file, data)
        except OSError as error:
            self.lost += len(held)
            self._complain(error)
            return
        if written < len(data):  # the disk is full: what is there ends in half a line
            self.lost += 1 + data.count(b"\n", written)
            self._complain(OSError("the disk is full"))
            self._end_line(data[:written])

    def _end_line(self, written: bytes) -> None:
        if not written.endswith(b"\n") and self._file is not None:
            try:
                os.write(self._file, b"\n")
            except OSError:
                return

    def close(self) -> None:
        """Write what is held, and let go of the file."""
        self.write()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warn("the query log cannot be written to {path}: {error}", path=str(self._path), error=str(error))
