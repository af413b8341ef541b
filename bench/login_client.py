"""Logs in again and again by SCRAM, with a query each time: `python -m bench.login_client PORT USER PASSWORD DATABASE
CLIENTS SECONDS`. One process, so that it costs little beside what it measures.

The password is hashed once: libpq would do so at every login, which takes longer than all else together.
Says in the end, as JSON: logins, seconds, and the time of each login in milliseconds.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

from pgbeam_core.embedded.postgres import HOST
from pgbeam_core.wire import frontend
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.frontend import SASLInitialResponse, SASLResponse
from pgbeam_core.wire.scram import SCRAM_SHA_256, ScramClient, ScramKeys, StaleKeys

QUERY = frontend.Query(b"SELECT 1").to_bytes()
GOODBYE = frontend.TERMINATE
_SASL, _CONTINUE = 10, 11


@dataclass
class Account:
    """Whom to log in as. `keys` are those of the latest login that had to hash the password."""

    port: int
    user: str
    password: str
    database: str
    keys: ScramKeys | None = None

    @property
    def startup(self) -> bytes:
        """The packet that a login begins with."""
        words = f"user\0{self.user}\0database\0{self.database}\0\0".encode()
        return (len(words) + 8).to_bytes(4, "big") + (3 << 16).to_bytes(4, "big") + words


@dataclass
class Tally:
    """What came of it."""

    until: float
    times_ms: list[float] = field(default_factory=list)


class OneClient:
    """One connection after the other, until time is up."""

    def __init__(self, account: Account, selector: selectors.BaseSelector, tally: Tally) -> None:
        self._account = account
        self._selector = selector
        self._tally = tally
        self._socket: socket.socket | None = None
        self.begin()

    def begin(self) -> None:
        """Connect, and say who it is."""
        self._began = time.perf_counter()
        self._frames = FrameCutter()
        self._scram: ScramClient | None = None
        self._asked = False
        self._socket = sock = socket.create_connection((HOST, self._account.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, self)
        sock.send(self._account.startup)

    def readable(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("it hung up")
        for frame in self._frames.feed(data):
            self._hear(frame)

    def _hear(self, frame: bytes) -> None:
        sock = self._socket
        assert sock is not None
        tag = frame[:1]
        if tag == b"E":
            raise ConnectionError(frame.replace(b"\0", b" ").decode("utf-8", "replace"))
        if tag == b"R":
            answer = self._answer(frame)
            if answer:
                sock.send(answer)
        elif tag == b"Z" and not self._asked:
            self._asked = True
            sock.send(QUERY)
        elif tag == b"Z":
            self._tally.times_ms.append((time.perf_counter() - self._began) * 1000)
            self._selector.unregister(sock)
            sock.send(GOODBYE)
            sock.close()
            self._socket = None
            if time.perf_counter() < self._tally.until:
                self.begin()

    def _answer(self, frame: bytes) -> bytes | None:
        code, account = int.from_bytes(frame[5:9], "big"), self._account
        if code == _SASL:
            self._scram = ScramClient("", account.keys or account.password, lambda: os.urandom(18))
            return SASLInitialResponse(SCRAM_SHA_256.encode(), self._scram.first()).to_bytes()
        if code == _CONTINUE and self._scram is not None:
            try:
                final = self._scram.final(frame[9:])
            except StaleKeys:
                self._scram.use(account.password)
                final = self._scram.final(frame[9:])
            account.keys = self._scram.keys
            return SASLResponse(final).to_bytes()
        return None


def main(arguments: list[str]) -> int:
    port, user, password, database, clients, seconds = arguments
    account = Account(int(port), user, password, database)
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    tally = Tally(began + float(seconds))
    for _ in range(int(clients)):
        OneClient(account, selector, tally)
    while selector.get_map():
        for key, _ in selector.select():
            key.data.readable()
    taken = time.perf_counter() - began
    print(json.dumps({"logins": len(tally.times_ms), "seconds": taken, "times_ms": tally.times_ms}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
