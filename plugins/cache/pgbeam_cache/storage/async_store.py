"""The second level as the loop sees it: it never waits for it longer than agreed, and never hears an error of it."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from pgbeam_cache.storage.packing import Versions

Got = tuple[bytes | None, Versions | None]
"""The bytes under a key, and the versions of now if the second level is what keeps them."""

NOTHING: Got = (None, None)
_MOST_WAITING = 256
"""Jobs in the queue. Beyond that what is asked is a miss, and what is to be kept is not."""
_PAUSE_S = 1.0
"""After an error nothing is asked for so long."""
_LOG_EVERY_S = 60.0

log = Logger(__name__)


class Backing(Protocol):
    """Where the bytes are. Called from one thread; every call may block and may raise anything."""

    def get(self, key: bytes, slots: tuple[int, ...]) -> Got:
        """The bytes under a key."""

    def put(self, key: bytes, data: bytes, seconds: float) -> None:
        """Keep the data for so long, if the store can; it may be full, and nobody is told."""

    def wrote(self, slots: tuple[int, ...]) -> None:
        """Relations with these places on the board were written. What could not be told is told with the next call."""

    def recover(self, error: Exception) -> None:
        """One of these calls has raised that."""

    def close(self) -> None:
        """Let go of files and sockets."""


class StoreWorker(Protocol):
    """Runs one job after the other, elsewhere."""

    def run(self, job: Callable[[], Any], then: Callable[[Any], None], otherwise: Callable[[Exception], None]) -> None:
        """Run a job; one of the two is called in the loop with its result or what it raised."""

    def close(self, last: Callable[[], None]) -> None:
        """No more jobs after this one."""


class Thread:
    """A Worker with a thread of its own, started with the first job. It does not keep the process alive."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[tuple[Any, Any, Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, job: Callable[[], Any], then: Callable[[Any], None], otherwise: Callable[[Exception], None]) -> None:
        """Put it at the end of the queue."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="pgbeam-cache", daemon=True)
            self._thread.start()
        self._jobs.put((job, then, otherwise))

    def close(self, last: Callable[[], None]) -> None:
        """End the thread when it has done what is in the queue."""
        if self._thread is not None:
            self._jobs.put((last, _nobody, _nobody))
            self._jobs.put(None)

    def _work(self) -> None:
        while (todo := self._jobs.get()) is not None:
            job, then, otherwise = todo
            try:
                result = job()
            except Exception as error:
                self._reactor.callFromThread(otherwise, error)
            else:
                self._reactor.callFromThread(then, result)


class AsyncStore:
    """One backing behind a bounded queue."""

    def __init__(self, backing: Backing, worker: StoreWorker, reactor: Any, seconds: float) -> None:
        self.counts: Counter[str] = Counter()
        """errors, timeouts, skipped."""
        self._backing = backing
        self._worker = worker
        self._reactor = reactor
        self._seconds = seconds
        self._waiting = 0
        self._down_until = 0.0
        self._next_log = 0.0
        self._untold: set[int] = set()
        self._telling = False
        self._closed = False

    def get(self, key: bytes, slots: tuple[int, ...]) -> Deferred[Got]:
        """What is under a key; NOTHING when it cannot be had in time. Never fails."""
        if not self._ready():
            return succeed(NOTHING)
        got: Deferred[Got] = Deferred(lambda _: None)
        got.addTimeout(self._seconds, self._reactor, self._too_slow)
        self._run(
            lambda: self._backing.get(key, slots),
            lambda found: None if got.called else got.callback(found),
            lambda: None if got.called else got.callback(NOTHING),
        )
        return got

    def put(self, key: bytes, data: bytes, seconds: float) -> None:
        """Keep bytes under a key, if that is possible now."""
        if self._ready():
            self._run(lambda: self._backing.put(key, data, seconds))

    def wrote(self, slots: tuple[int, ...]) -> None:
        """Pass on that relations were written. This is not dropped: it is said again until it was taken."""
        self._untold.update(slots)
        self._tell()

    def failed(self, error: Exception) -> None:
        """Count and, now and then, log what went wrong."""
        self.counts["errors"] += 1
        now = self._reactor.seconds()
        self._down_until = now + _PAUSE_S
        if now >= self._next_log:
            self._next_log = now + _LOG_EVERY_S
            log.warn("second level of the cache: {error}", error=f"{type(error).__name__}: {error}"[:300])

    def close(self) -> None:
        self._closed = True
        self._worker.close(self._backing.close)

    def _ready(self) -> bool:
        if self._closed or self._waiting >= _MOST_WAITING or self._reactor.seconds() < self._down_until:
            self.counts["skipped"] += 1
            return False
        return True

    def _tell(self) -> None:
        if self._telling or not self._untold or self._closed:
            return
        self._telling = True
        told, self._untold = tuple(self._untold), set()
        self._run(lambda: self._backing.wrote(told), self._was_told, self._not_told)

    def _was_told(self, _: object) -> None:
        self._telling = False
        self._tell()

    def _not_told(self) -> None:
        """The backing remembers what it owes; it only has to be called again."""
        if not self._closed:
            self._reactor.callLater(_PAUSE_S, self._tell_again)

    def _tell_again(self) -> None:
        self._run(lambda: self._backing.wrote(()), self._was_told, self._not_told)

    def _run(
        self,
        job: Callable[[], Any],
        then: Callable[[Any], None] = lambda _: None,
        otherwise: Callable[[], None] = lambda: None,
    ) -> None:
        def done(result: Any) -> None:
            self._waiting -= 1
            then(result)

        def failed(error: Exception) -> None:
            self._waiting -= 1
            self.failed(error)
            otherwise()

        def run() -> Any:
            try:
                return job()
            except Exception as error:
                self._backing.recover(error)
                raise

        self._waiting += 1
        self._worker.run(run, done, failed)

    def _too_slow(self, _result: object, _seconds: float) -> Got:
        self.counts["timeouts"] += 1
        return NOTHING


def _nobody(_: object) -> None:
    """It is nobody's any more."""
