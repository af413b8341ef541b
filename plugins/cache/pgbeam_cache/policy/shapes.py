"""What is known of each shape of query that passes: calls, times, sizes, and whether caching it would pay."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from hashlib import blake2b

from pgbeam_cache.policy.cacheability import Cacheability
from pgbeam_cache.policy.traffic import RecentTraffic
from pgbeam_core import Answer, Histogram, Result, Statement

_WATCHED = 8
"""Requests of one shape whose last reply is remembered, as a digest, to be compared with the next."""
_COMPARED_BYTES = 64 * 1024
_FEW = 5
"""Comparisons that tell nothing yet."""
_SAMPLED_FIRST = 32
_SAMPLED_EVERY = 128
_GIVE_WAY = 10
"""When there are too many shapes, one in so many gives way at once."""


class Shape:
    """What is counted of one shape of query in one project."""

    __slots__ = (
        "_same",
        "_sampled_at",
        "_watched",
        "bytes",
        "calls",
        "compared",
        "first",
        "hash",
        "hits",
        "kind",
        "last",
        "latency",
        "project",
        "reason",
        "text",
        "traffic",
    )

    def __init__(self, project: str, statement: Statement, note: Cacheability, now: float) -> None:
        self.project = project
        self.hash = statement.query_hash
        """16 hex digits."""
        self.text = statement.shape
        """With $n for constants."""
        self.kind = str(statement.kind)
        self.reason = note.reason
        """Why it cannot be cached."""
        self.calls = 0
        self.hits = 0
        """Answered by the cache."""
        self.bytes = 0
        self.latency = Histogram()
        """Of the executions on a server, in seconds."""
        self.first = self.last = now
        """Seconds since 1970."""
        self.compared = 0
        """Executions whose result could be compared with the one before of the same request."""
        self._same = 0
        self._sampled_at = 0
        self._watched: OrderedDict[bytes, bytes] = OrderedDict()
        self.traffic: RecentTraffic | None = None
        """What came lately, if somebody may want to know what a rule would have given."""

    @property
    def average(self) -> float:
        """Seconds that the server takes on average; 0 when it was never asked."""
        asked = sum(self.latency.counts)
        return self.latency.total / asked if asked else 0.0

    @property
    def stability(self) -> float | None:
        """Share of compared executions whose result equalled the one before; None when none was compared."""
        return self._same / self.compared if self.compared else None

    @property
    def wants_sample(self) -> bool:
        """The next reply is worth comparing."""
        return self.reason is None and self.calls >= self._sampled_at

    def sampled(self) -> None:
        """That reply will be looked at; the next ones need not be."""
        self._sampled_at = self.calls + (1 if self.calls < _SAMPLED_FIRST else _SAMPLED_EVERY)

    @property
    def recommendation(self) -> str:
        """Whether caching it would pay: great, good, fair or poor."""
        stability = self.stability
        if self.reason is not None:
            return "poor"
        if stability is None or self.compared < _FEW:
            return "fair"
        if stability < 0.5:
            return "poor"
        if stability < 0.8 or self.calls < 20:
            return "fair"
        return "great" if stability >= 0.95 and self.calls >= 100 and self.average >= 0.001 else "good"

    def executed(self, result: Result, now: float, times: int = 1) -> None:
        """So many executions have ended in that way; `now` is seconds of the wall's clock."""
        self.calls += times
        self.last = now
        self.bytes += result.size * times
        if result.source == "server":
            if result.error is None:
                self.latency.add(result.server_time, times)
        elif result.source == "cache":
            self.hits += times

    def replied(self, request: bytes, answer: Answer) -> None:
        """The server's reply to a request: the same as the one before?"""
        if answer.size > _COMPARED_BYTES:
            return
        digest = blake2b(answer.rows, digest_size=8).digest()
        before = self._watched.pop(request, None)
        self._watched[request] = digest
        if before is not None:
            self.compared += 1
            self._same += before == digest
        elif len(self._watched) > _WATCHED:
            self._watched.popitem(last=False)


class Shapes:
    """The shapes seen lately, `most` of them."""

    def __init__(self, most: int, wall: Callable[[], float] = time.time) -> None:
        self.most = most
        self._wall = wall
        self._shapes: dict[str, dict[str, Shape]] = {}
        """By project, and fingerprint."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Shape]:
        return iter(sorted(self._all(), key=lambda shape: -shape.calls))

    def get(self, query_hash: str, project: str | None = None) -> Shape | None:
        """The shape with that fingerprint, in a project or in any."""
        if project is not None:
            return self._shapes.get(project, {}).get(query_hash)
        return next((shapes[query_hash] for shapes in self._shapes.values() if query_hash in shapes), None)

    def of(self, project: str, statement: Statement, note: Cacheability) -> Shape:
        """The shape of a statement that somebody executes in a project."""
        shapes = self._shapes.get(project)
        shape = None if shapes is None else shapes.get(statement.query_hash)
        return self._new(project, statement, note) if shape is None else shape

    def executed(self, shape: Shape, result: Result, times: int = 1) -> None:
        shape.executed(result, self._wall(), times)

    def _all(self) -> list[Shape]:
        return [shape for shapes in self._shapes.values() for shape in shapes.values()]

    def _new(self, project: str, statement: Statement, note: Cacheability) -> Shape:
        if self._count >= self.most:
            oldest = sorted(self._all(), key=lambda shape: shape.last)
            for old in oldest[: len(oldest) - self.most + max(1, self.most // _GIVE_WAY)]:
                del self._shapes[old.project][old.hash]
                self._count -= 1
        shape = Shape(project, statement, note, self._wall())
        self._shapes.setdefault(project, {})[statement.query_hash] = shape
        self._count += 1
        return shape
