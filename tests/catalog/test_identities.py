"""Who a name stands for, and how long that is believed; who a server says it is."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Role, Target
from pgbeam_core.beam.definitions import RIGHTS_AGE
from pgbeam_core.catalog.identities import HELD_FOR, Identities
from pgbeam_core.errors import IdentityChanged, ServerUnavailable
from pgbeam_core.net import transport
from pgbeam_core.net.opening import ServerOpener
from pgbeam_core.testing import Rehearsal
from pgbeam_core.testing.chunks import in_one_piece
from pgbeam_core.testing.fake_postgres import FakePostgres
from pgbeam_core.testing.wires import Wires

PRIMARY = Target("shop", Role.PRIMARY, "db", 5432)
REPLICA = PRIMARY._replace(role=Role.REPLICA)
ANNA = Identity("anna", "shop")
FULL = ANNA._replace(oids=(7, 7, 5))


class Book:
    """What is known, and the clock and the epoch that it depends on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.epoch = 0
        self.known = Identities(self.clock.seconds, lambda: self.epoch)


def test_a_name_is_believed_until_definitions_change_or_time_has_passed() -> None:
    """Whoever is let in without a login of his own is nobody whom the name stood for long ago."""
    book = Book()
    assert book.known.of(PRIMARY, ANNA) is None
    book.known.told(PRIMARY, FULL, 0)
    assert book.known.of(PRIMARY, ANNA) == FULL
    book.epoch = 1
    assert book.known.of(PRIMARY, ANNA) is None
    book.known.told(PRIMARY, FULL, 1)
    book.clock.advance(HELD_FOR + 1)
    assert book.known.of(PRIMARY, ANNA) is None


def test_what_was_asked_before_a_definition_changed_is_not_believed() -> None:
    """The server may have looked before the change."""
    book = Book()
    book.epoch = 1
    book.known.told(PRIMARY, FULL, 0)
    assert book.known.of(PRIMARY, ANNA) is None


def test_a_server_that_goes_by_itself_makes_names_doubtful() -> None:
    """Its database may have been dropped under it, and made again; who is let in without a server would not notice."""
    book = Book()
    book.known.told(PRIMARY, FULL, 0)
    book.known.lost(REPLICA)
    assert book.known.of(PRIMARY, ANNA) == FULL
    book.known.lost(PRIMARY)
    assert book.known.of(PRIMARY, ANNA) is None
    book.known.told(PRIMARY, FULL, 0)
    assert book.known.of(PRIMARY, ANNA) == FULL


def test_servers_of_other_targets_say_nothing_about_this_one() -> None:
    """A name on a replica is a name on that replica."""
    book = Book()
    book.known.told(REPLICA, FULL, 0)
    assert book.known.of(PRIMARY, ANNA) is None


class Place:
    """An opener of one target, and the FakePostgres that it finds there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, target: Target = PRIMARY) -> None:
        self.book = Book()
        self.fake = FakePostgres()
        self.wires = Wires(in_one_piece)
        self.opener = ServerOpener(self.book.clock, target, prepared_limit=10, identities=self.book.known)
        monkeypatch.setattr(transport, "connect", self._connect)

    def _connect(self, _reactor: object, _target: Target, server: Any, **_: object) -> Deferred[Any]:
        self.wires.join(server, self.fake.buildProtocol(None))
        return Deferred()

    def open(self, wanted: Identity = ANNA) -> Any:
        """The server, or what it failed with."""
        results: list[Any] = []
        self.opener(wanted, None, None).addBoth(results.append)
        self.wires.pump()
        return getattr(results[0], "value", results[0])


def test_a_server_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its identity is that of the role and database, whatever they are called later."""
    place = Place(monkeypatch)
    server = place.open()
    assert server.identity.oids == (10, 10, 5)
    assert place.book.known.of(PRIMARY, ANNA) == server.identity


@pytest.mark.parametrize(
    ("oids", "what"), [((11, 11, 5), 'role "anna"'), ((10, 12, 5), 'role "anna"'), ((10, 10, 6), 'database "shop"')]
)
def test_another_one_of_the_name_is_not_served(
    monkeypatch: pytest.MonkeyPatch, oids: tuple[int, int, int], what: str
) -> None:
    """A client of the old role must not get a server of the new one; the next login knows."""
    place = Place(monkeypatch)
    wanted = place.open().identity
    place.fake.oids = oids
    error = place.open(wanted)
    assert isinstance(error, IdentityChanged)
    assert error.message.startswith(what)
    known = place.book.known.of(PRIMARY, ANNA)
    assert known is not None
    assert known.oids == oids


def test_a_server_that_cannot_tell_is_taken_by_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no PostgreSQL, but speaks its protocol, works as far as it goes."""
    place = Place(monkeypatch)
    place.fake.oids = None
    assert place.open().identity == ANNA
    assert place.open(FULL).sqlstate == "28000"


def test_a_server_that_is_lost_while_it_is_asked_was_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it hears of it."""
    place = Place(monkeypatch)
    monkeypatch.setattr(FakePostgres, "reply", lambda self, _sql: self.crash() or b"")
    assert isinstance(place.open(), ServerUnavailable)


def test_a_server_that_does_not_say_in_time_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that hangs behind its authentication is given up as any other."""
    place = Place(monkeypatch)
    results: list[Any] = []
    place.opener(ANNA, None, None).addBoth(results.append)
    monkeypatch.setattr(FakePostgres, "reply", lambda _self, _sql: b"")
    monkeypatch.setattr("pgbeam_core.testing.fake_postgres._Backend._ready", lambda _self: None, raising=True)
    place.wires.pump()
    place.book.clock.advance(61)
    place.wires.pump()
    assert isinstance(results[0].value, ServerUnavailable)


def test_a_replica_that_is_no_copy_has_identifiers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its counterpart of the primary's role is the first one it was asked for, and stays that."""
    place = Place(monkeypatch, REPLICA)
    assert place.open(FULL).identity == FULL
    assert place.open(FULL).identity == FULL
    place.fake.oids = (11, 11, 5)
    assert place.open(FULL).sqlstate == "28000"


def test_a_physical_replica_must_agree_with_the_primary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another identifier there means another role, perhaps one that is yet to be dropped."""
    place = Place(monkeypatch, REPLICA)
    place.fake.recovering = "t"
    assert place.open(FULL).sqlstate == "28000"


def test_what_servers_keep_is_doubted_once_a_minute() -> None:
    """Roles and rights that change past PgBeam hold for statements that servers keep prepared, and for roles told."""
    with Rehearsal({}) as rehearsal:
        beam = rehearsal.beam
        beam.start()
        before = beam.runtime.epoch, beam.definitions
        rehearsal.advance(RIGHTS_AGE + 1, step=10)
        assert (beam.runtime.epoch, beam.definitions) == (before[0] + 1, before[1])
        beam.stop()
        rehearsal.advance(RIGHTS_AGE + 1, step=10)
        assert beam.runtime.epoch == before[0] + 1
