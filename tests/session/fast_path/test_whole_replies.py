"""Replies to plain statements are handed on as a whole, where that is what came."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.internal.owner import InternalOwner
from pgbeam_core.session import steps
from pgbeam_core.session.replies import ReplyQueue
from pgbeam_core.session.steps import BOUND, DESCRIBED, SIMPLE, Form, Owed, say
from pgbeam_core.session.turns import OutOfTurn, Turn
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import split
from tests.session.reply_queues import NOTICE, STATUS, Aside, feed
from tests.session.reply_queues import Owner as InPieces
from tests.session.stage import IN_TRANSACTION, ONE, READY, TWO, done, error

ROW, COLUMNS, NO_DATA = backend.data_row(["one"]), backend.row_description([("a", 25, -1)]), backend.NO_DATA
FORMS = {"simple": SIMPLE, "described": DESCRIBED, "bound": BOUND}
STEPS: dict[Form, tuple[Owed, ...]] = {
    DESCRIBED: (steps.BIND, steps.DESCRIBE, steps.EXECUTE),
    BOUND: (steps.BIND, steps.EXECUTE),
}
HOPED_FOR = {
    SIMPLE: [COLUMNS + ROW * 2 + done(), COLUMNS + done("SELECT 0"), done("INSERT 0 1"), COLUMNS + b"C\0\0\0\5\0"],
    DESCRIBED: [TWO + COLUMNS + ROW * 2 + done(), TWO + COLUMNS + done("SELECT 0"), TWO + NO_DATA + done("UPDATE 1")],
    BOUND: [TWO + ROW * 2 + done(), TWO + done("DELETE 7")],
}
UNHOPED_FOR = {
    SIMPLE: [error(), COLUMNS + ROW + error(), NOTICE + done(), COLUMNS + ROW + STATUS + ROW + done(), done() * 2,
             backend.EMPTY_QUERY_RESPONSE, b"C\0\0\0\4", COLUMNS + b"D\0\0\0\4" + done()],
    DESCRIBED: [error(), TWO + error(), TWO + COLUMNS + ROW + error(), TWO + NOTICE + COLUMNS + done(),
                TWO + COLUMNS + ROW + NOTICE + done(), STATUS + TWO + NO_DATA + done()],
    BOUND: [error(), TWO + error(), TWO + ROW + error(), TWO + ROW + NOTICE + done(),
            TWO + backend.EMPTY_QUERY_RESPONSE],
}  # fmt: skip
OUT_OF_TURN = {
    SIMPLE: [b"", b"Z\0\0\0\6II", ROW + b"?\0\0\0\4", COLUMNS + b"D\0\0\0\3"],
    DESCRIBED: [COLUMNS + ROW + done(), TWO + ROW + done(), TWO + COLUMNS + COLUMNS + done(), TWO + done(),
                TWO + COLUMNS + done() * 2, TWO + COLUMNS + ROW],
    BOUND: [ROW + done(), TWO + COLUMNS + ROW + done(), TWO * 2 + done(), TWO + ROW, TWO + done() + ROW],
}  # fmt: skip
KINDS = [(form, parsed) for form in FORMS.values() for parsed in (False, True) if form is not SIMPLE or not parsed]


@dataclass
class Owner(InPieces, InternalOwner):
    """Notes which of its turns ended as a whole."""

    wholes: list[bytes] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    def deliver_reply(self, turn: Turn, reply: bytes) -> None:
        self.wholes.append(reply)
        self.turns.append(turn)
        self.got += turn.prefix + reply[: -len(READY)]
        self.over.append(reply[-len(READY) :])

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        self.turns.append(turn)
        super().turn_over(turn, ready)


def plain(owner: Owner, form: Form, *, parsed: bool = False, ready: bytes = READY) -> Turn:
    """The turn of a plain statement."""
    turn = Turn(owner, simple=form is SIMPLE)
    turn.form, turn.expected_ready = form, ready
    if form is not SIMPLE:
        turn.script = deque(((say(ONE),) if parsed else ()) + STEPS[form])
        turn.prefix = ONE if parsed else b""
    return turn


def queue(*kinds: tuple[Form | None, bool]) -> tuple[ReplyQueue, list[Owner]]:
    """A queue that owes such turns; None is one that goes the long way."""
    replies, owners = ReplyQueue(Aside()), [Owner() for _ in kinds]
    for owner, (form, parsed) in zip(owners, kinds, strict=True):
        replies.expect(Turn(owner, simple=True) if form is None else plain(owner, form, parsed=parsed))
    return replies, owners


def as_said(replies: list[bytes], kind: tuple[Form | None, bool]) -> list[tuple[bytes, bytes]]:
    """What the owner of a turn of that kind gets for each of those replies: (seen, said)."""
    return [((ONE if kind[1] else b"") + said, said) for said in replies]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_was_hoped_for_is_handed_on_in_one_piece(form: Form) -> None:
    """A statement that went well costs its owner one call, whatever the reply holds."""
    for reply in HOPED_FOR[form]:
        replies, (owner,) = queue((form, False))
        replies.feed(reply + READY)
        assert (owner.wholes, owner.got, owner.over) == ([reply + READY], reply, [READY])
        assert not replies.turns
        assert owner.turns[0].tags == [reply[:-1].rpartition(b"C\0\0\0")[2][1:]]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_anything_else_goes_the_long_way(form: Form) -> None:
    """Errors, notices, changed parameters and odd replies are nobody's whole, and reach their owner all the same."""
    for parsed in (False, True) if form is not SIMPLE else (False,):
        for reply in UNHOPED_FOR[form]:
            replies, (owner,) = queue((form, parsed))
            replies.feed(reply + READY)
            assert not owner.wholes
            assert owner.got.replace(ONE, b"", 1) == reply
            assert owner.got.count(ONE) == parsed
            assert owner.over == [READY]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_nobody_is_owed_is_out_of_turn_here_too(form: Form) -> None:
    """A reply that no plain statement can have is not handed on for whole: the server is quarantined."""
    for reply in OUT_OF_TURN[form]:
        replies, (owner,) = queue((form, False))
        with pytest.raises(OutOfTurn):
            replies.feed(reply + READY)
        assert not owner.wholes


def test_another_status_than_expected_goes_the_long_way() -> None:
    """A statement behind which the transaction is another than before is not as plain as it seemed."""
    for expected, came in ((READY, IN_TRANSACTION), (IN_TRANSACTION, READY)):
        replies, owner = ReplyQueue(Aside()), Owner()
        replies.expect(plain(owner, SIMPLE, ready=expected))
        replies.feed(done() + came)
        assert (owner.wholes, owner.got, owner.over, replies.status) == ([], done(), [came], came[5:])


def test_in_a_transaction_the_status_stays() -> None:
    """The server's status is that of the last reply, whole or not."""
    replies, owner = ReplyQueue(Aside()), Owner()
    replies.expect(plain(owner, BOUND, ready=IN_TRANSACTION))
    replies.feed(TWO + done() + IN_TRANSACTION)
    assert (len(owner.wholes), replies.status) == (1, b"T")


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_however_a_reply_is_cut_it_is_the_same(kind: tuple[Form, bool]) -> None:
    """In two pieces, cut anywhere, or byte by byte: the same bytes, of the same count, and ParseComplete once."""
    for seen, said in as_said(HOPED_FOR[kind[0]] + UNHOPED_FOR[kind[0]], kind):
        stream = said + READY
        for cut in range(1, len(stream)):
            replies, (owner,) = queue(kind)
            replies.feed(stream[:cut])
            replies.feed(stream[cut:])
            assert sorted(split_up(owner.got)) == sorted(split_up(seen))
            assert owner.over == [READY]
            assert owner.wholes or owner.turns[0].size == len(seen)
        replies, (owner,) = queue(kind)
        feed(replies, stream, 1)
        assert (sorted(split_up(owner.got)), owner.turns[0].size) == (sorted(split_up(seen)), len(seen))


def split_up(data: bytes) -> list[bytes]:
    """Messages: a notice may stand before or behind PgBeam's own ParseComplete."""
    return [data[start:end] for _, start, end in split(data)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_behind_a_turn_that_goes_the_long_way_cut_anywhere(kind: tuple[Form, bool]) -> None:
    """Whatever of a reply came along with that of the turn before it, its owner gets each byte once."""
    for seen, said in as_said(HOPED_FOR[kind[0]], kind):
        stream = done("SET") + READY + said + READY
        for cut in range(1, len(stream)):
            replies, (first, second) = queue((None, False), kind)
            replies.feed(stream[:cut])
            replies.feed(stream[cut:])
            assert (first.got, second.got) == (done("SET"), seen)
            assert (first.over, second.over) == ([READY], [READY])
            if not second.wholes:
                assert second.turns[0].size == len(seen)


def test_what_comes_behind_a_whole_reply_is_not_part_of_it() -> None:
    """A notice, half a message or garbage behind the end is for whoever is next, or for nobody."""
    aside = Aside()
    replies, owner = ReplyQueue(aside), Owner()
    replies.expect(plain(owner, SIMPLE))
    replies.feed(done() + READY + NOTICE[:7])
    replies.feed(NOTICE[7:])
    assert (owner.got, aside.frames) == (done(), [NOTICE])
    replies.expect(plain(owner, SIMPLE))
    with pytest.raises(OutOfTurn):
        replies.feed(done() + READY + done())
    assert len(owner.wholes) == 2


def test_lengths_that_cannot_be_are_not_taken_for_whole() -> None:
    """A message that says that it is longer than what came, or shorter than can be, ends nowhere near a reply."""
    for row in (b"D\xff\xff\xff\xff", b"D\0\0\0\0", b"D\0\0\0\3"):
        replies, (owner,) = queue((SIMPLE, False))
        with pytest.raises(OutOfTurn):
            replies.feed(COLUMNS + row + done() + READY)
        assert not owner.wholes


KIND = st.sampled_from([*KINDS, (None, False)])


@given(
    st.lists(KIND.flatmap(lambda kind: st.tuples(st.just(kind), st.sampled_from(
        [done(), ROW + error()] if kind[0] is None else HOPED_FOR[kind[0]] + UNHOPED_FOR[kind[0]]
    ))), min_size=1, max_size=6),
    st.lists(st.integers(1, 60), min_size=1, max_size=30),
)  # fmt: skip
def test_each_owner_gets_its_own_however_turns_stand_and_chunks_fall(
    plan: list[tuple[tuple[Form | None, bool], bytes]], sizes: list[int]
) -> None:
    """Turns of both ways behind one another: nobody gets a byte twice, or another's, or one that is missing."""
    replies, owners = queue(*[kind for kind, _ in plan])
    stream = b"".join(said + READY for _, said in plan)
    place = count = 0
    while place < len(stream):
        size = sizes[count % len(sizes)]
        replies.feed(stream[place : place + size])
        place, count = place + size, count + 1
    for owner, (kind, said) in zip(owners, plan, strict=True):
        assert owner.over == [READY]
        assert sorted(split_up(owner.got)) == sorted(split_up((ONE if kind[1] else b"") + said))
