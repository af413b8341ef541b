"""Writes lines in a thread of its own, so that a slow disk never holds up the event loop."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from queue import Empty, Full, Queue
from typing import TextIO

Record = Mapping[str, object]


class LineWriter:
    """At most `size` records wait; further ones are dropped and counted."""

    def __init__(self, stream: TextIO, size: int, *, close: bool) -> None:
        """`close`: the stream is ours to close."""
        self.written = 0
        self.dropped = 0
        self.failed = 0
        """Records lost because the stream would not take them."""
        self._stream = stream
        self._close = close
        self._queue: Queue[Record | None] = Queue(size)
        self._thread = threading.Thread(target=self._write_all, name="pgbeam-audit", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Have it written, some time soon. Never waits."""
        try:
            self._queue.put_nowait(record)
        except Full:
            self.dropped += 1

    def close(self, timeout: float = 10.0) -> None:
        """Write what waits, for at most that many seconds."""
        try:
            self._queue.put(None, timeout=timeout)
        except Full:
            return
        self._thread.join(timeout)

    def _write_all(self) -> None:
        while (batch := self._batch()) is not None:
            self._write(batch)
        if self._close:
            self._stream.close()

    def _batch(self) -> list[Record] | None:
        """All that waits, once something does; None at the end."""
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        while True:
            try:
                record = self._queue.get_nowait()
            except Empty:
                return batch
            if record is None:
                self._write(batch)
                return None
            batch.append(record)

    def _write(self, batch: list[Record]) -> None:
        try:
            self._stream.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in batch))
            self._stream.flush()
        except (OSError, ValueError):
            self.failed += len(batch)
        else:
            self.written += len(batch)
