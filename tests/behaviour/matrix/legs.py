"""A way to the database with two clients on it, of which the first does a cell and then both look."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field

from .. import frames
from ..beams import Direct
from ..wireclient import Closed, Frame, LoginRefused, WireClient
from .cells import Cell
from .things import APP, BOSS
from .views import QUERIES, TIED, View, look, read, received

PATIENCE = 5.0
"""Seconds within which a server that nothing ties to its client has to be given to another."""
SILENCE = 12.0
"""Seconds after which nothing is expected any more."""
ENDS = (Closed, LoginRefused, TimeoutError, ConnectionError)
_CLIENTS = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
_CLOSED = Frame(b"!", b"closed")


@dataclass
class Seen:
    """What came of a cell."""

    replies: list[list[Frame]] = field(default_factory=list)
    own: list[View] = field(default_factory=list)
    """What the client sees of its own session: at once, and after the other one had the server."""
    other: View = field(default_factory=dict)
    shared: bool = False
    """The other client was on the same server process."""
    waited: bool = False
    """The other client did not get the server before the first one had gone."""


class Seat:
    """One client, connected when it is needed."""

    def __init__(self, place: Direct, database: str, user: str) -> None:
        self.place, self.database, self.user = place, database, user
        self._client: WireClient | None = None

    @property
    def client(self) -> WireClient:
        """The connection."""
        if self._client is None:
            self._client = self.place.wire(self.user, self.database)
            self._client.timeout = SILENCE
        return self._client

    def leave(self, *, politely: bool = True) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            if politely:
                with contextlib.suppress(OSError):
                    self._client.send(frames.terminate())
            self._client.close()
            self._client = None

    def clean(self) -> bool:
        """Give up all session state; False where the connection is not usable any more."""
        try:
            return self.client.ask(frames.query("DISCARD ALL"))[0].tag == b"C"
        except ENDS:
            return False


class Leg:
    """`database` at `place`, and a third party that PgBeam does not see."""

    def __init__(self, place: Direct, database: str) -> None:
        self.place, self.mode = place, place.pool_mode
        self.boss = place.cluster.connect(database=database)
        self.boss.execute("SET client_min_messages = error")
        (self._oid,) = self.boss.execute("SELECT 'm.leave(text)'::regprocedure::oid::int").fetchone() or (0,)
        self._seats = {user: (Seat(place, database, user), Seat(place, database, user)) for user in (APP, BOSS)}
        self._user = ""
        self._round = 0

    def run(self, cell: Cell) -> Seen:
        """Run the cell for the first client and look at both."""
        self._seat(cell.thing.user)
        first, second = self._seats[cell.thing.user]
        if cell.way.before:
            self.boss.execute(cell.fill(cell.way.before).encode())
        if self.mode in ("transaction", "statement"):
            read(second.client, self._round)  # it is connected now: a later login would take a server of its own
        seen = Seen()
        pid = 0
        if perform(cell, first.client, self._oid, seen.replies):
            mine, pid = look(first.client, cell.thing.becomes or first.user, cell.thing.ask)
            seen.own.append(mine)
        else:
            if cell.outcome.mark == "_":
                self._wait("wait_event = 'PgSleep'", there=True, seconds=0.5)
            first.leave(politely=False)
            self._wait("state NOT IN ('idle', 'idle in transaction')")
        if self.mode != "direct":
            self._other(cell, seen, pid)
        if cell.thing.anew or self.mode == "session" or not first.clean():
            first.leave()
        if cell.thing.anew and self.mode == "direct":
            self._wait(f"pid = {pid}")
        return seen

    def rows(self) -> str:
        """How many there are in truth."""
        return str((self.boss.execute("SELECT count(*) FROM m.written").fetchone() or (0,))[0])

    def rows_at_rest(self, user: str) -> tuple[str, str]:
        """How many there are, and how many the other client reads, once what had been sent is over."""
        deadline = time.monotonic() + SILENCE
        while True:
            time.sleep(0.05)
            before, seen, after = self.rows(), read(self._seats[user][1].client, self._round)["rows"], self.rows()
            if before == seen == after or time.monotonic() > deadline:
                return after, seen

    def renew(self) -> None:
        """After something went wrong: all clients go, the servers with them, and what is cached is not read again."""
        self.leave()
        self.boss.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_CLIENTS}".encode())
        self._wait("true")
        self._round += 1

    def leave(self) -> None:
        """All clients go."""
        for seats in self._seats.values():
            for seat in seats:
                seat.leave()

    def close(self) -> None:
        """Everything goes."""
        self.leave()
        self.boss.close()

    def _seat(self, user: str) -> None:
        if user != self._user:
            self.leave()
            self._user = user

    def _other(self, cell: Cell, seen: Seen, pid: int) -> None:
        first, second = self._seats[self._user]
        tied = bool(seen.own) and not TIED.isdisjoint(seen.own[0])
        if tied or self.mode == "session":
            self._end(cell, first)
        theirs, other_pid = self._look(cell, seen)
        seen.shared = pid == other_pid
        seen.other = theirs | read(second.client, self._round)
        if self.mode == "session":
            second.leave()
        elif seen.own and not tied and not seen.waited:
            seen.own.append(look(first.client, cell.thing.becomes or self._user, cell.thing.ask)[0])

    def _look(self, cell: Cell, seen: Seen) -> tuple[View, int]:
        first, second = self._seats[self._user]
        second.client.send(QUERIES[self._user])
        try:
            head = second.client.frame(PATIENCE)
        except TimeoutError:
            seen.waited = True
            first.leave()
            head = second.client.frame()
        return received([head, *second.client.until(b"Z")], second.client, cell.thing.ask)

    def _end(self, cell: Cell, first: Seat) -> None:
        """The first client gives up what it has: it leaves, with or without a word, or discards all and stays."""
        stays = cell.number % 3 == 2 and self.mode != "session" and not cell.thing.anew
        if not stays or not first.clean():
            first.leave(politely=cell.number % 2 == 0)

    def _wait(self, condition: str, *, there: bool = False, seconds: float = PATIENCE) -> None:
        """Until there is no such server process in this database, or until there is one."""
        query = f"SELECT 1 FROM pg_stat_activity WHERE {_CLIENTS} AND {condition}"
        deadline = time.monotonic() + seconds
        while bool(self.boss.execute(query.encode()).fetchone()) is not there and time.monotonic() < deadline:
            time.sleep(0.003)


def perform(cell: Cell, client: WireClient, oid: int, replies: list[list[Frame]]) -> bool:
    """Send everything and keep what is said; whether the connection still stands, outside a transaction."""
    requests = cell.requests(oid)
    status = b"I"
    try:
        for number, (data, ready) in enumerate(requests):
            client.send(data)
            if cell.outcome.gone and number == len(requests) - 1:
                return False
            replies.append(client.until(b"Z", ready))
            status = replies[-1][-1].body
        if status != b"I":
            replies.append(client.ask(frames.query("ROLLBACK")))
    except (Closed, ConnectionError):
        replies.append([_CLOSED])
        return False
    return True
