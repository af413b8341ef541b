"""Texts and parameters made to be costly: others are served on, and whoever sends them gets what the server says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.attacks.conftest import Fort
from tests.attacks.siege import MB, besiege
from tests.behaviour import frames
from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import Frame, WireClient
from tests.fuzz.growth.productions import grown

pytestmark = pytest.mark.pg

WORST = ("left +", "parens", "pluses glued", "comments open", "ctes", "set_config", "columns", "annotation words")
OTHERS = (
    *("left and", "cast", "scalar", "union", "case else", "statements", "target list", "values rows", "string"),
    *("join", "array inner", "row parens", "dollar inner", "explain", "values nest", "subscript"),
)
SIZES = (8_000, 30_000)
LARGE = (380_000, 1_000_000)
QUADRATIC = ("comments open", "pluses glued")
"""PostgreSQL itself needs minutes for large ones, and cannot be stopped."""
SQLSTATE = b"C"
TIMED_OUT = [b"57014"]


def said(replies: list[Frame]) -> list[bytes]:
    """What became of a request: command tags and SQLSTATEs."""
    found = []
    for tag, body in replies:
        if tag == b"E":
            found.append(next(field[1:] for field in body.split(b"\0") if field[:1] == SQLSTATE))
        elif tag == b"C":
            found.append(body)
    return found


def with_timeout(place: Direct) -> WireClient:
    """A client whose statements end within seconds: PostgreSQL takes minutes for some of them."""
    client = place.wire()
    client.timeout = 60
    client.ask(frames.query("SET statement_timeout = '500ms'"))
    return client


def judge(fort: Fort, cluster: Cluster, names: Sequence[str], sizes: Sequence[int]) -> None:
    """Nobody is held up by these texts, and their replies are those of a direct connection."""
    texts = [grown(name, size) for name in names for size in sizes if size not in LARGE or name not in QUADRATIC]
    with with_timeout(Direct(cluster)) as client:
        direct = [said(client.ask(frames.query(text))) for text in texts]
    through: list[list[bytes]] = []

    def attack(beam: Beam) -> None:
        with with_timeout(beam) as client:
            through.extend(said(client.ask(frames.query(text))) for text in texts)

    besiege(fort(), attack).check()
    # What takes PostgreSQL about as long as the timeout may end in it on one way and not on the other.
    pairs = [pair for pair in zip(through, direct, strict=True) if TIMED_OUT not in pair]
    assert [mine for mine, _ in pairs] == [theirs for _, theirs in pairs]


def test_costly_texts_hold_nobody_up_and_are_answered_by_the_server(fort: Fort, cluster: Cluster) -> None:
    """Whatever is repeated in a text, the answer is that of a direct connection, and others notice nothing."""
    judge(fort, cluster, WORST, SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("name", WORST + OTHERS)
def test_the_same_of_every_size(fort: Fort, cluster: Cluster, name: str) -> None:
    """Where nothing of the text is read, too."""
    judge(fort, cluster, [name], SIZES + LARGE)


def test_a_transaction_ends_with_a_text_that_is_not_understood(fort: Fort) -> None:
    """The server tells whether a transaction is over; settings go back with it, and its server goes to the next."""
    padding = b"/* */ " * 3_000
    with fort().wire() as client:
        client.ask(frames.query("SET application_name = 'before'"))
        for end in (b"COMMIT", b"ROLLBACK"):
            client.ask(frames.query("BEGIN"))
            client.ask(frames.query("SET LOCAL application_name = 'during'"))
            client.ask(frames.query("SELECT 1/0"))
            assert client.ask(frames.query(end + b" " + padding))[-1].body == b"I"
            assert b"before" in client.ask(frames.query("SHOW application_name"))[1].body
        client.ask(frames.query(b"SET application_name = 'after' " + padding))
        assert b"after" in client.ask(frames.query("SHOW application_name"))[1].body
        client.ask(frames.query(b"SELECT set_config('app.huge', '" + b"x" * 70_000 + b"', false)"))
        for _ in range(3):
            assert b"x" * 70_000 in client.ask(frames.query("SELECT current_setting('app.huge')"))[1].body


@pytest.mark.parametrize("megabytes", [1, 8, pytest.param(50, marks=pytest.mark.slow)])
def test_a_large_value_passes_unread(fort: Fort, megabytes: int) -> None:
    """As a literal or as a parameter: others are served while it passes."""
    value = b"v" * (megabytes * MB)

    def attack(beam: Beam) -> None:
        with beam.wire() as client:
            client.timeout = 60
            assert said(client.ask(frames.query(b"SELECT length('" + value + b"')"))) == [b"SELECT 1\0"]
            request = frames.parse("SELECT length($1)") + frames.bind(value) + frames.execute() + frames.sync()
            assert said(client.ask(request)) == [b"SELECT 1\0"]

    # A message is joined in one copy and renamed in another; one of 50 MB takes 20 ms.
    besiege(fort(), attack).check(held_s=0.05 + megabytes * 0.001, grown=(128 + 6 * megabytes) * MB)
