"""Workers that are no processes: the other end of the link, in this one."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from pgbeam_core.workers.link import Link, Message, connect


class FakeWorker:
    """Follows orders like a worker, unless a test wants otherwise. Also the process of itself."""

    def __init__(self, number: int, end: socket.socket, *, starts: bool = True, takes: bool = True) -> None:
        self.number = number
        self.pid = 10_000 + number
        self.code: int | None = None
        self.heard: list[Message] = []
        self.clients: list[socket.socket] = []
        self.link_stays = False
        """Nothing is heard of its end."""
        self.stops = True
        self.silent = False
        """It hears, and does not answer."""
        self.answers: dict[str, Any] = {}
        self.link = Link(self._heard, lambda: None)
        self._starts, self._takes = starts, takes
        self._owed: Deferred[None]
        connect(reactor, end.dup(), self.link)

    def _heard(self, what: str, message: Message) -> Any:
        self.heard.append(message)
        if what == "begin" and self._starts:
            self.link.tell("ready", merges={"add": True, "one": False})
        elif what == "client":
            self.clients.append(message["socket"])
            if self._takes:
                self.link.tell("took")
        elif what in ("stop", "drain") and self.stops:
            self.die(0)
        elif what == "beat" and self.silent:
            self._owed = Deferred()
            return self._owed
        elif what == "merge":
            return {"ok": True, "result": sum(message["results"])}
        return self.answers.get(what)

    def said(self, what: str) -> list[Message]:
        """The messages about that."""
        return [message for message in self.heard if message["what"] == what]

    def speak(self) -> None:
        """Answer from now on, and what was asked in the meantime."""
        self.silent = False
        self._owed.callback(None)

    def die(self, code: int) -> None:
        """End."""
        for client in self.clients:
            client.close()
        self.code = code
        if not self.link_stays:
            self.link.close()

    def poll(self) -> int | None:
        """As a process."""
        return self.code

    def kill(self) -> None:
        """As a process."""
        self.die(-9)
