"""When and where the catalog is asked for, on fakes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_core import Identity, ServerUnavailable
from pgbeam_core.catalog.surveys import MAX_AGE, PAUSE, Survey
from pgbeam_core.wire import backend


class Desk:
    """A survey whose servers answer when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.epoch = 0
        self.leases: list[Deferred[Any]] = []
        self.turns: list[Any] = []
        self.released = 0
        self.settings = {"statement_timeout": "9000", "lock_timeout": "1000"}
        self.asides: list[bytes] = []
        self.survey = Survey(lambda: self, self.clock, lambda: self.epoch)  # type: ignore[arg-type, return-value]

    def lease(self, identity: Identity, settings: object) -> Deferred[Any]:
        """As a pool that has nothing idle."""
        self.leases.append(Deferred())
        return self.leases[-1]

    def session(self, server: Any = None) -> Any:
        """A client; with a server of its own in session mode."""
        lease = None if server is None else SimpleNamespace(server=server)
        identity = Identity("app", "shop")
        return SimpleNamespace(identity=identity, keeps_server=lease is not None, lease=lease, in_transaction=False)

    def server(self) -> Any:
        """An idle server."""
        found = SimpleNamespace(
            alive=True, status=b"I", owed=0, statements=SimpleNamespace(unnamed=b"x"), settings=dict(self.settings)
        )
        found.send_internal = lambda request, otherwise: self.asides.append(request)
        found.lift_timeouts = lambda: self.asides.append(b"lift")
        found.send = lambda turn, data: self.turns.append(turn)
        return found

    def give(self) -> None:
        """The pool has a server at last."""
        self.leases[-1].callback(SimpleNamespace(server=self.server(), release=self._release))

    def reply(self, *rows: tuple[str, ...]) -> None:
        """The server answers the last question."""
        turn = self.turns[-1]
        for row in rows:
            turn.owner.deliver(backend.data_row([value.encode() for value in row]))
        turn.owner.turn_over(turn, b"Z\x00\x00\x00\x05I")

    def _release(self) -> None:
        self.released += 1


def test_a_catalog_is_asked_for_once_and_kept() -> None:
    """Many may want it; one question is asked, on a leased server, which is given back."""
    desk = Desk()
    waits = [desk.survey.wait(desk.session(), 1.0) for _ in range(3)]
    desk.give()
    desk.reply(("behind", "view", "base"))
    assert len(desk.turns) == desk.released == 1
    found = desk.survey.catalog(desk.session())
    assert found is not None
    assert found.reading([(None, "view")]).tables == ("base", "view")
    results: list[Any] = []
    for wait in waits:
        wait.addCallback(results.append)
    assert results == [found] * 3


def test_a_definition_that_changed_makes_it_outdated() -> None:
    """Nobody goes by the old one; what changed while it was asked is asked for again."""
    desk = Desk()
    assert desk.survey.catalog(desk.session()) is None
    desk.give()
    desk.epoch = 1
    waits: list[Any] = []
    desk.survey.wait(desk.session(), 1.0).addCallback(waits.append)
    desk.reply()
    assert desk.survey.peek() is None
    assert not waits
    desk.give()
    desk.reply(("anything", "noisy"))
    assert waits == [desk.survey.peek()]
    assert waits[0].writing(("noisy",)) is None


def test_it_is_asked_for_again_when_it_is_old_and_used_until_then() -> None:
    """An unchanged catalog is the same object: nothing that rests on it is looked at again."""
    desk = Desk()
    desk.survey.catalog(desk.session())
    desk.give()
    desk.reply(("anything", "noisy"))
    before = desk.survey.peek()
    desk.clock.advance(MAX_AGE / 2 + 1)
    assert len(desk.leases) == 1
    assert desk.survey.catalog(desk.session()) is before
    desk.give()
    desk.reply(("anything", "noisy"))
    assert desk.survey.catalog(desk.session()) is before
    assert len(desk.leases) == 2


def test_a_survey_that_fails_is_not_repeated_at_once() -> None:
    """Who waits is told that there is none; and whether there was any server to ask."""
    desk = Desk()
    told: list[Any] = []
    desk.survey.wait(desk.session(), 1.0).addCallback(told.append)
    desk.leases[-1].errback(ServerUnavailable("down"))
    assert told == [None]
    assert desk.survey.unreachable
    desk.survey.catalog(desk.session())
    assert len(desk.leases) == 1
    desk.clock.advance(PAUSE)
    desk.survey.catalog(desk.session())
    assert len(desk.leases) == 2


def test_nobody_waits_longer_than_asked() -> None:
    """The answer may come later, for others."""
    desk = Desk()
    told: list[Any] = []
    desk.survey.wait(desk.session(), 1.0).addCallback(told.append)
    desk.clock.advance(1.0)
    assert told == [None]
    desk.give()
    desk.reply()
    assert desk.survey.peek() is not None


def test_a_session_with_a_server_of_its_own_is_asked_there() -> None:
    """Another could not be opened without its password. Its unnamed statement is gone then, and that is remembered."""
    desk = Desk()
    server = desk.server()
    desk.survey.catalog(desk.session(server))
    desk.reply()
    assert desk.survey.peek() is not None
    assert not desk.leases
    assert server.statements.unnamed is None


def test_a_busy_server_is_left_alone() -> None:
    """In a transaction, or while it owes a reply, the question waits for a better moment."""
    desk = Desk()
    server = desk.server()
    server.status = b"T"
    assert desk.survey.catalog(desk.session(server)) is None
    assert not desk.turns
    told: list[Any] = []
    desk.survey.wait(desk.session(server), 1.0).addCallback(told.append)
    assert told == [None]


def test_who_holds_a_server_does_not_wait_for_it_to_be_asked() -> None:
    """In a pool that is at its limit, the server that would be asked is the one which is held: nobody would go on."""
    desk = Desk()
    told: list[Any] = []
    holder = desk.session(desk.server())
    holder.keeps_server = False  # as in transaction mode
    desk.survey.wait(holder, 1.0).addCallback(told.append)
    assert told == [None]
    assert len(desk.leases) == 1  # it is asked for all the same


def test_one_that_is_too_old_is_waited_for() -> None:
    """What was changed past PgBeam holds after that time, also for whoever has not asked for long."""
    desk = Desk()
    desk.survey.catalog(desk.session(), 20.0)
    desk.give()
    desk.reply()
    desk.clock.advance(21)
    assert desk.survey.catalog(desk.session(), 20.0) is desk.survey.peek() is None
    waits: list[Any] = []
    desk.survey.wait(desk.session(), 1.0).addCallback(waits.append)
    desk.give()
    desk.reply()
    assert waits == [desk.survey.latest]


def test_what_was_changed_elsewhere_is_noticed() -> None:
    """Everybody who goes by definitions is told, once, and the new catalog holds."""
    desk = Desk()
    noticed: list[int] = []

    def notice() -> None:
        desk.epoch += 1
        noticed.append(desk.epoch)

    desk.survey = Survey(lambda: desk, desk.clock, lambda: desk.epoch, notice)  # type: ignore[arg-type, return-value]
    for roles in ("1", "1", "2", "2"):
        desk.survey.catalog(desk.session())
        desk.give()
        desk.reply(("version", "roles", roles))
        assert desk.survey.peek() is not None
        desk.clock.advance(MAX_AGE)
    assert noticed == [1]


def test_its_timeouts_are_its_own() -> None:
    """A client's short statement_timeout does not make the question fail, nor does a lock hold it up."""
    desk = Desk()
    desk.settings = {"statement_timeout": "1"}
    desk.survey.catalog(desk.session())
    desk.give()
    lifted, told = desk.asides
    assert lifted == b"lift"
    assert b"'statement_timeout', '9000'" in told
    assert b"'lock_timeout', '1000'" in told
