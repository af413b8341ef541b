"""What workers have counted, as it is shown: asked for now and then, and summed."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from twisted.internet.defer import Deferred, DeferredList

from pgbeam_core.workers import aggregate
from pgbeam_core.workers.link import Message
from pgbeam_core.workers.worker_pool import WorkerPool

LOOK_S = 2.0
"""Longest wait for what a worker counted."""


class Looks:
    """At the workers of a crew. panels: what plugins draw is asked for as well."""

    def __init__(self, crew: WorkerPool, reactor: Any, *, panels: bool) -> None:
        self._crew = crew
        self._reactor = reactor
        self._shows_panels = panels
        self._seen: list[Message] = []
        """What the workers counted when they were last asked."""
        self._looking = False

    def begin(self) -> None:
        """Look, unless that is under way."""
        if not self._looking:
            self._looking = True
            self.look()

    def look(self) -> Deferred[None]:
        """Ask the workers what they counted; who does not answer in time is left out."""
        panels = self._shows_panels
        asked = [each.link.ask("stats", panels=panels).addTimeout(LOOK_S, self._reactor) for each in self._crew.ready]
        return DeferredList(asked, consumeErrors=True).addCallback(self._looked)

    def latencies(self) -> dict[str, list[int]]:
        """The counts of each project's latency histogram, summed."""
        return aggregate.latencies(each["latencies"] for each in self._seen)

    def panels(self) -> list[tuple[str, Any]]:
        """One worker's: what plugins draw cannot be added up."""
        self._shows_panels = True
        if not self._seen:
            return []
        whose = f"one of {len(self._seen)} workers"
        return [(f"{name}, {whose}", Text.from_ansi(text)) for name, text in self._seen[0]["panels"]]

    def summed(self, own_loop: dict[str, Any], of_supervisor: dict[str, int]) -> dict[str, Any]:
        """The sums of all workers as of the last look, and what their supervisor counts."""
        found = aggregate.stats([each["stats"] for each in self._seen], self.latencies())
        loops = [own_loop, found["loop"]] if "loop" in found else [own_loop]
        return {**found, "loop": aggregate.total(loops), "supervisor": of_supervisor}

    def _looked(self, replies: list[tuple[bool, Message]]) -> None:
        self._looking = False
        self._seen = [reply for came, reply in replies if came]
