"""What the charts show: a look every two seconds, remembered for ten minutes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from pgbeam_core.telemetry.samples import View, Window
from pgbeam_core.web.parameters import whole_number
from pgbeam_core.web.replies import HttpReply, HttpRequest, as_json
from pgbeam_core.web.source import Source

log = Logger(__name__)

EVERY_S = 2.0
MOST = 300


class History:
    """Points by number; who has seen some asks for those after them."""

    def __init__(self, source: Source, wall: Callable[[], float] = time.time) -> None:
        self._window = Window(source)
        self._wall = wall
        self._points: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._number = 0
        self._call = LoopingCall(self.look)
        self._call.clock = source.reactor

    def start(self) -> None:
        self._call.start(EVERY_S).addErrback(lambda failure: log.failure("charts end here", failure=failure))

    def stop(self) -> None:
        if self._call.running:
            self._call.stop()

    def look(self) -> None:
        """Remember how things are now, as one more point."""
        self._number += 1
        self._points.append({"number": self._number, "at": round(self._wall(), 1), **point(self._window.look())})

    def since(self, request: HttpRequest) -> HttpReply:
        """The points after number `since`."""
        since = whole_number(request, "since", 0, least=0)
        if since > self._number:  # of a PgBeam that ran before this one
            since = 0
        return as_json({"every_s": EVERY_S, "points": [each for each in self._points if each["number"] > since]})


def point(view: View) -> dict[str, Any]:
    """Of all projects together; rates are per second, latencies in milliseconds, of the slowest project."""
    servers = [counts for _, counts in view.servers]

    def total(name: str) -> float:
        return sum(counts.get(name, 0) for counts in servers)

    def slowest(name: str) -> float:
        return round(max((getattr(each, name) for each in view.traffic), default=0.0) * 1000, 3)

    return {
        "clients": sum(each.clients for each in view.traffic),
        "queries": round(sum(each.queries for each in view.traffic), 2),
        "answered": round(sum(each.answered for each in view.traffic), 2),
        "errors": round(sum(each.errors for each in view.traffic), 2),
        "hit_ratio": None if view.hit_ratio is None else round(view.hit_ratio, 4),
        "p50": slowest("p50"),
        "p95": slowest("p95"),
        "p99": slowest("p99"),
        "servers": total("servers"),
        "idle": total("servers_idle"),
        "active": total("servers_active") + total("servers_in_transaction"),
        "waiting": total("clients_waiting"),
    }
