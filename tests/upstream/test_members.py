"""The watch over several hosts, with hosts that say what they are told to, and a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Role, Target
from pgbeam_core.errors import PasswordNeeded, ServerUnavailable
from pgbeam_core.net.auth.exchange import LoginExchange, RelayedLogin
from pgbeam_core.net.auth.passwords import AskedPassword
from pgbeam_core.upstream.members import Members
from pgbeam_core.upstream.memory import Memory
from pgbeam_core.upstream.opener import PrimaryOpener

HOSTS = (("a", 5432), ("b", 5432), ("c", 5432))
TARGET = Target("shop", Role.PRIMARY, "a", 5432, hosts=HOSTS, session_attrs="primary")
STANDBY, DOWN, SILENT, SHUT = "standby", "down", "silent", "shut"
WHO = Identity("anna", "shop")


class FakeServer:
    """One that was opened at a host."""

    def __init__(self, host: str, *, recovering: bool) -> None:
        self.host, self.recovering = host, recovering
        self.lease: Any = None
        self.sharers = 0
        self.abandoned: str | None = None
        self.ended: Any = lambda expected: None

    def abandon(self, reason: str) -> None:
        if self.abandoned is None:
            self.abandoned = reason
            self.ended(True)

    def die(self) -> None:
        self.ended(False)


class World:
    """Three hosts; a number is the timeline of one that takes writes."""

    def __init__(self, folder: Path, *, hold: float = 10.0, memory: Memory | None = None) -> None:
        self.clock = Clock()
        self.hosts: dict[str, Any] = {"a": 1, "b": STANDBY, "c": STANDBY}
        self.asked = 0
        self.late: dict[str, list[Deferred[Any]]] = {}
        self.told: list[Any] = []
        self.servers: list[FakeServer] = []
        self.memory = memory or Memory(folder, self.told.append)
        self.members = Members(TARGET, self.clock, self.memory, ask=self._ask, interval=2.0)
        self.opener = PrimaryOpener(self.members, self._opener, self.clock, hold)

    def _ask(self, place: Target) -> Deferred[Any]:
        self.asked += 1
        said = self.hosts[place.host]
        asking: Deferred[Any] = Deferred()
        if said == DOWN:
            asking.errback(ServerUnavailable("could not connect"))
        elif said == SHUT:
            asking.errback(PasswordNeeded("it asks for a password"))
        elif said != SILENT:
            asking.callback([self._row(place.host, said)])
        else:
            self.late.setdefault(place.host, []).append(asking)
        return asking

    def answer_late(self, host: str, said: Any) -> None:
        """What was asked while it was silent is answered now."""
        self.hosts[host] = said
        for asking in self.late.pop(host):
            if not asking.called:
                asking.callback([self._row(host, said)])

    def _row(self, host: str, said: Any) -> tuple[str | None, ...]:
        timeline = None if said == STANDBY else f"{said:08X}"
        return ("t" if said == STANDBY else "f", "7", timeline, "off", host)

    def _opener(self, place: Target) -> Any:
        def open_one(*_: Any) -> Deferred[Any]:
            opening: Deferred[Any] = Deferred()
            said = self.hosts[place.host]
            if said == DOWN:
                opening.errback(ServerUnavailable("could not connect"))
            elif said != SILENT:
                server = FakeServer(place.host, recovering=said == STANDBY)
                self.servers.append(server)
                opening.callback(server)
            return opening

        return open_one

    def open(self, relay: Any = None) -> Opened:
        """Begin to open a server, as a pool does."""
        return Opened(self.opener(WHO, None, relay))

    def advance(self, seconds: float) -> None:
        self.clock.pump([0.05] * round(seconds / 0.05))


class Opened:
    """What became of an opening."""

    def __init__(self, opening: Deferred[Any]) -> None:
        self.server: FakeServer | None = None
        self.error: Any = None
        self.opening = opening
        opening.addCallbacks(self._came, self._failed)

    def _came(self, server: FakeServer) -> None:
        self.server = server

    def _failed(self, failure: Any) -> None:
        self.error = failure.value

    @property
    def host(self) -> str | None:
        return None if self.server is None else self.server.host


@pytest.fixture
def world(tmp_path) -> World:
    """Host a is the primary, b and c are standbys."""
    return World(tmp_path)


def test_a_server_is_one_of_the_primary(world):
    """Whichever host that is."""
    world.hosts.update(a=STANDBY, b=1)
    assert world.open().host == "b"


def test_a_promotion_is_followed_within_one_probe(world):
    """The servers of the old primary are closed, whatever they are doing, and new ones come from the new one."""
    old = world.open().server
    old.lease = object()
    world.hosts.update(b=2)
    world.advance(2.1)
    assert "the primary" in old.abandoned
    assert world.open().host == "b"
    assert world.members.failovers == 1


def test_an_opening_waits_for_the_promotion(world):
    """While there is no primary nothing fails, for as long as failover_hold_s."""
    server = world.open().server
    world.hosts.update(a=DOWN)
    server.die()
    waiting = world.open()
    world.advance(5)
    assert waiting.server is None
    assert waiting.error is None
    world.hosts.update(b=2)
    world.advance(0.3)
    assert waiting.host == "b"


def test_it_waits_no_longer_than_the_hold(world):
    """Then it is told what each host is."""
    world.hosts.update(a=DOWN)
    waiting = world.open()
    world.advance(9.9)
    assert waiting.error is None
    world.advance(0.2)
    assert waiting.error.sqlstate == "08006"
    assert waiting.error.message == "upstream unavailable (no primary among a:5432,b:5432,c:5432)"
    assert "a:5432: could not connect; b:5432: it is in recovery" in waiting.error.hint


def test_without_a_hold_it_fails_at_once(tmp_path):
    """failover_hold_s = 0."""
    world = World(tmp_path, hold=0)
    world.hosts.update(a=DOWN)
    assert world.open().error.sqlstate == "08006"


def test_the_same_primary_again_is_believed_only_when_the_others_have_been_heard(world):
    """It may be the old one, restarted, whose successor is about to answer."""
    server = world.open().server
    world.hosts.update(b=SILENT)
    server.die()
    waiting = world.open()
    world.advance(1)
    assert waiting.server is None
    world.answer_late("b", 2)
    assert waiting.host == "b"


def test_a_host_that_was_down_before_is_not_waited_for(world):
    """A dead standby makes nobody wait when a server is lost."""
    world.hosts.update(b=SILENT)
    world.open()
    world.advance(5)
    world.servers[0].die()
    assert world.open().host == "a"


def test_an_old_primary_is_fenced_also_by_a_new_process(world, tmp_path):
    """The latest timeline is on disk: after a restart of PgBeam an old primary that is alone gets nothing."""
    world.open()
    world.hosts.update(a=DOWN, b=2)
    world.advance(3)
    assert world.open().host == "b"
    after = World(tmp_path)
    after.hosts.update(a=1, b=DOWN)
    waiting = after.open()
    after.advance(5)
    assert waiting.server is None
    assert ("a:5432", "fenced") in [row[:2] for row in after.members.rows()]
    after.hosts.update(b=2)
    after.advance(1)
    assert waiting.host == "b"


def test_workers_tell_each_other_of_a_timeline(world, tmp_path):
    """One has seen the promotion; another one, that has not, writes to no old primary."""
    world.open()
    world.hosts.update(a=DOWN, b=2)
    world.advance(3)
    other = Memory(tmp_path / "elsewhere", lambda said: None)
    for said in world.told:
        other.heard(said)
    after = World(tmp_path, memory=other, hold=0)
    after.hosts.update(a=1, b=DOWN)
    assert after.open().error is not None


def test_one_late_answer_is_forgiven_and_two_are_not(world):
    """A primary under load is not given up for one slow login; if it stays silent its idle servers are closed."""
    server = world.open().server
    busy = world.open().server
    busy.lease = object()
    world.hosts.update(a=SILENT)
    world.advance(3.9)
    assert server.abandoned is None
    world.advance(4)
    assert server.abandoned is not None
    assert busy.abandoned is None
    world.hosts.update(a=1)
    world.advance(2.5)
    assert world.open().host == "a"


def test_a_server_that_says_it_is_in_recovery_serves_nobody(world):
    """It became a standby since it was asked: the opening goes on to the primary."""
    world.open()
    world.hosts.update(a=STANDBY, b=2)
    opened = world.open()
    assert world.servers[-1].abandoned == "it is in recovery"
    world.advance(0.5)
    assert opened.host == "b"


RELAYS = {
    "in clear": RelayedLogin,
    "encrypted": lambda exchange: AskedPassword(exchange, "app", bytes, lambda _learned: None),
}


@pytest.mark.parametrize("relay", RELAYS.values(), ids=RELAYS)
def test_a_client_that_was_asked_for_its_password_is_not_sent_on(world, relay):
    """It could not prove twice who it is: it is told to come again, whichever way it was asked."""
    world.open()
    world.hosts.update(a=STANDBY, b=2)
    exchange = LoginExchange(lambda _frame: None, lambda: None)
    exchange.ask(b"R\0\0\0\x08\0\0\0\3")
    opened = world.open(relay(exchange))
    assert opened.error.sqlstate == "08006"


def test_without_a_login_of_its_own_clients_find_the_primary(world):
    """Every host asks PgBeam for a password: the hosts are tried in turn."""
    world.hosts.update(a=SHUT, b=SHUT, c=DOWN)
    opened = world.open()
    assert opened.host == "a"
    server = opened.server
    world.members.told_otherwise(world.members.primary, "it is in recovery")
    world.advance(0.5)
    assert world.open().host == "b"
    assert server.abandoned is None or "primary" in server.abandoned


def test_nobody_is_asked_for_long_when_nobody_is_there(world):
    """Without servers and without anybody who wants one the hosts have their peace; the next one wakes the watch."""
    server = world.open().server
    server.abandon("idle")
    world.advance(3)
    asked = world.asked
    world.advance(60)
    assert world.asked == asked
    world.hosts.update(a=DOWN, b=2)
    assert world.open().host == "b"


def test_a_lost_primary_is_looked_for_though_nobody_waits(world):
    """The pool's breaker is told as soon as there is one again."""
    found: list[int] = []
    world.opener.on_found(lambda: found.append(1))
    server = world.open().server
    world.hosts.update(a=DOWN)
    server.die()
    world.advance(30)
    assert world.opener.missing
    before = len(found)
    world.hosts.update(b=2)
    world.advance(2.1)
    assert len(found) == before + 1
    assert not world.opener.missing


def test_doubts_that_do_not_end_make_nobody_wait_for_ever(world):
    """Servers are lost all the time, and openings come all the time: each is answered by the round after it."""
    lost = [world.open().server for _ in range(20)]
    opened = []
    for server in lost:
        server.die()
        opened.append(world.open())
        world.advance(0.1)
    world.advance(1)
    assert all(one.host == "a" for one in opened)


def test_whoever_gives_up_leaves_nothing(world):
    """A client that leaves while there is no primary."""
    world.hosts.update(a=DOWN)
    opened = world.open()
    opened.opening.cancel()
    assert opened.error is not None
    world.members.close()
    assert not world.clock.getDelayedCalls()


def test_a_file_that_cannot_be_read_costs_no_start(tmp_path):
    """The log says so; who is the primary is found out."""
    (tmp_path / "upstreams.json").write_text("{")
    assert World(tmp_path).open().host == "a"
