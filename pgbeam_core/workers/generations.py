"""A PgBeam whose place another process takes, and that process: what they tell each other while clients are with both.

They speak over a `link` as workers do. Several restarts one after another make a row of them, each linked with the one
before and the one behind. A cancel request for a client that one does not have goes along the row, and so does what
workers let each other know.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed

from pgbeam_core.control.door import Handed
from pgbeam_core.doors import Doors, Inheritance
from pgbeam_core.net.given import GivenSockets, receive
from pgbeam_core.wire.startup import CancelRequest
from pgbeam_core.workers.cancels import cancel_at
from pgbeam_core.workers.link import Link, Message, connect, first_message, line

VARIABLE = "_PGBEAM_PREDECESSOR"
"""In the environment of a process that takes another's place: its end of their link."""
_SLACK_S = 10.0


class Relayed(Protocol):
    """The PgBeam of this process, which neighbours ask and tell."""

    def cancel(self, request: CancelRequest) -> Deferred[bool]: ...
    def heard(self, name: str, value: Any) -> None: ...
    def overlap(self, on: bool) -> None: ...


class Generations:
    """The neighbours of a PgBeam: `older`, whose place it takes, and `newer`, which takes its place."""

    def __init__(self, reactor: Any) -> None:
        self.older: Link | None = None
        self.newer: Link | None = None
        self._service: Relayed | None = None
        self.older_grace_s = 0.0
        """Its `shutdown_grace`: it stays for that long, and drains for as long again."""
        self._reactor = reactor
        self._alone: list[Deferred[None]] = []

    def stand_for(self, service: Relayed) -> None:
        """It is asked and told from now on."""
        self._service = service
        self._overlap()

    def replaced(self, by: Link | None) -> None:
        """A process begins to take the place of this one; or, None, it is gone."""
        self.newer = by
        self._overlap()

    def publish(self, name: str, value: Any) -> None:
        """Let them know what other workers are let know."""
        self._pass_on(None, name, value)

    def cancel(self, request: CancelRequest) -> Deferred[bool]:
        """Cancel what a client of theirs does; False if they do not have it."""
        return self._ask(None, request)

    def succeed(self, end: socket.socket, rest: bytes, begun: Message) -> None:
        """This process takes the place of the one at the other end."""
        self.older = link = Link(lambda what, message: self.heard(link, what, message), self._older_gone)
        self.older_grace_s = float(begun["grace"])
        connect(self._reactor, end, link)
        link.dataReceived(rest)  # type: ignore[no-untyped-call]

    def serves(self, doors: Doors) -> None:
        """Clients come to this process now: the older one may let go."""
        if self.older is not None:
            kept = [str(each.socket.getsockname()) for each in doors.sockets if each.socket.family == socket.AF_UNIX]
            handed = doors.handed
            control = None if handed is None else handed.path
            self.older.tell("ready", process=os.getpid(), kept=kept, control=control)

    def older_gone(self) -> Deferred[None]:
        """Fires when the older one has ended, and what it has to tell is told; or when it should have, long ago."""
        if self.older is None:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._alone.append(gone)
        longest = 2 * self.older_grace_s + _SLACK_S
        return gone.addTimeout(longest, self._reactor, onTimeoutCancel=lambda *_: None)

    def heard(self, link: Link | None, what: str, message: Message) -> Any:
        """What both sides say; what else there may be is for those who know of it."""
        if self._service is None:
            return None
        if what == "news":
            self._service.heard(message["name"], message["value"])
            self._pass_on(link, message["name"], message["value"])
        elif what == "cancel":
            request = CancelRequest(message["pid"], bytes.fromhex(message["secret"]))
            return self._service.cancel(request).addCallback(lambda found: found or self._ask(link, request))
        return None

    def _overlap(self) -> None:
        if self._service is not None:
            self._service.overlap(self.older is not None or self.newer is not None)

    def _others(self, source: Link | None) -> list[Link]:
        return [link for link in (self.older, self.newer) if link is not None and link is not source]

    def _pass_on(self, source: Link | None, name: str, value: Any) -> None:
        for link in self._others(source):
            link.tell("news", name=name, value=value)

    def _ask(self, source: Link | None, request: CancelRequest) -> Deferred[bool]:
        return cancel_at(self._reactor, self._others(source), request)

    def _older_gone(self) -> None:
        self.older = None
        self._overlap()
        alone, self._alone = self._alone, []
        for gone in alone:
            if not gone.called:
                gone.callback(None)


def will(doors: Doors, grace_s: float) -> Message:
    """What is written to a process ahead of its start: the descriptors that it inherits are these."""
    sockets = [
        {"descriptor": each.socket.fileno(), "where": each.where, "removable": each.removable} for each in doors.sockets
    ]
    handed = None if doors.handed is None else doors.handed._asdict()
    return {"what": "begin", "process": os.getpid(), "grace": grace_s, "sockets": sockets, "control": handed}


def descriptors(doors: Doors) -> list[int]:
    """Those that the process inherits."""
    handed = doors.handed
    return [
        *(each.socket.fileno() for each in doors.sockets),
        *(() if handed is None else (handed.socket, handed.lock)),
    ]


class Before:
    """At the start of a process that takes another's place: what it was given, and the way to say how it goes."""

    def __init__(self, end: socket.socket) -> None:
        os.set_inheritable(end.fileno(), False)
        self._end = end
        self.begun, self._rest = first_message(end)
        given = [
            receive(each["descriptor"], each["where"], removable=each["removable"]) for each in self.begun["sockets"]
        ]
        control = None if self.begun["control"] is None else Handed(**self.begun["control"])
        if control is not None:
            os.set_inheritable(control.socket, False)
            os.set_inheritable(control.lock, False)
        self.inheritance = Inheritance(GivenSockets(given), control)

    def meet(self, generations: Generations) -> None:
        """Speak over a link from now on."""
        generations.succeed(self._end.dup(), self._rest, self.begun)

    def serves(self) -> None:
        """It has come to something: the link says all there is to say."""
        self._end.close()

    def failed(self, reason: str) -> None:
        """Say why it comes to nothing, unless it did come to something. The process is to end now."""
        if self._end.fileno() >= 0:
            with contextlib.suppress(OSError):
                self._end.setblocking(True)
                self._end.sendall(line({"what": "failed", "message": reason}))


def before(environment: MutableMapping[str, str]) -> Before | None:
    """What another PgBeam has left to this process; None if nobody has. Raises EOFError or OSError."""
    named = environment.pop(VARIABLE, "")
    return Before(socket.socket(fileno=int(named))) if named.isdigit() else None
