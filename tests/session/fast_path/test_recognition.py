"""The short way of plain statements differs in nothing from the long way but in speed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgbeam_core import Refusal
from pgbeam_core.testing.chunks import byte_by_byte, in_one_piece, randomly
from pgbeam_core.wire import backend
from tests.session.plays import ALTERED, COUNTED, DRAINED, FULL, LEFT, LOST, Play, Step, Story, Way, first_byte_apart
from tests.session.plugins import REFUSAL, staged
from tests.session.stage import (
    ONE,
    READY,
    SYNC,
    TWO,
    bind,
    close,
    describe,
    done,
    execute,
    parse,
    query,
    tags,
)

TEXTS = [
    "SELECT 1", "SELECT a FROM empty", "SELECT a FROM wide", "SELECT a FROM noisy", "SELECT a FROM fails",
    "SELECT a FROM fails_late", "SELECT missing", "SELECT a FROM unbindable", "SELECT * FROM changes",
    "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1) RETURNING a", "UPDATE t SET a = b",
    "/* @pgbeam:cache */ SELECT a FROM t", "SELECT own_function(a)", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s",
    "", "SHOW pgbeam.debug", "SELECT 1; SELECT 2", "DEALLOCATE n1", "DEALLOCATE ALL", "DISCARD ALL",
    "SET application_name = 'other'", "CREATE TABLE u (a int)", "SELECT a FROM answered", "SELECT a FROM refused",
    "SELECT a FROM waits", "SELECT a FROM waits_answered", "SELECT a FROM waits_refused", "SELECT a FROM noted",
    "SELECT a FROM raises",
]  # fmt: skip
SIBLINGS = [f"SELECT {what}" for what in ("a FROM t WHERE b = 1", "a FROM t WHERE b = 2", "own(1)", "own(2)")]
READS = ["SELECT 1", "SELECT a FROM t", "SELECT a FROM empty", "SELECT a FROM wide", "SELECT a FROM fails_late",
         "SELECT a FROM noisy", "SELECT * FROM changes"]  # fmt: skip
WAYS = [
    Way(in_one_piece, in_one_piece),
    Way(in_one_piece, byte_by_byte),
    Way(in_one_piece, randomly(7)),
    Way(byte_by_byte, in_one_piece),
    Way(byte_by_byte, byte_by_byte),
]
LONG = Way(first_byte_apart, in_one_piece)


def extended(sql: str, *, described: bool = True) -> bytes:
    """The form in which drivers send a statement."""
    return parse(sql) + bound(b"", described=described)


def bound(name: bytes, *, described: bool = True) -> bytes:
    """The same with a statement that is prepared."""
    return bind(name) + (describe() if described else b"") + execute() + SYNC


def requests(sql: str, name: bytes) -> list[bytes]:
    """What a client may do with a text."""
    plain = [query(sql), extended(sql), extended(sql, described=False)]
    named = [bound(name), bound(name, described=False)]
    odd = [
        parse(sql, name) + SYNC,
        parse(sql, name) + describe(name, ord("S")) + SYNC,
        parse(sql) + bind(b"", b"p") + SYNC,
        parse(sql) + bind() + execute(b"", 1) + SYNC,
        bind(name) + SYNC,
        execute(b"p") + SYNC,
        execute() + SYNC,
        close(name) + SYNC,
        SYNC,
    ]
    return plain * 3 + named * 2 + odd


@st.composite
def plays(draw: st.DrawFn, texts: list[str], clients: int, events: list[bytes]) -> list[Step]:
    """Some steps about a few texts, so that these come again and again."""
    few = draw(st.lists(st.sampled_from(texts), min_size=1, max_size=3))
    chunks = [chunk for sql in few for chunk in requests(sql, draw(st.sampled_from([b"", b"n1"])))]
    replies = st.sampled_from([100, 100, 100, 0, 1, 2])
    step = st.builds(Step, st.sampled_from(chunks), st.integers(0, clients - 1), replies, st.booleans())
    pair = st.builds(lambda one, two: one._replace(data=one.data + two.data), step, step)
    event = st.builds(Step, st.sampled_from(events or chunks), st.integers(0, clients - 1), replies)
    thrice = step.map(lambda one: [one] * 3)
    groups = st.lists(thrice | st.lists(st.one_of(step, step, pair, event), min_size=1, max_size=2), max_size=10)
    return [each for group in draw(groups) for each in group]


def compare(steps: list[Step], *, clients: int = 1, pool_mode: str = "transaction") -> list[Story]:
    """Play it in all ways: nothing that anybody can see differs. Give what came of it, first the long way."""
    long = Play(LONG, clients=clients, pool_mode=pool_mode).run(steps)
    stories = [long]
    # A ParseComplete of PgBeam's own is said with the reply: where none comes, or nobody waits for it, it is not said.
    unsaid = ONE if any(step.data in (LOST, LEFT) for step in steps) else None
    for way in WAYS:
        short = Play(way, clients=clients, pool_mode=pool_mode).run(steps)
        stories.append(short)
        assert without(short.got, unsaid) == without(long.got, unsaid)
        assert (short.aside, short.told, short.state) == (long.aside, long.told, long.state)
        assert short.executed == long.executed
    return stories


def without(got: list[list[bytes]], frame: bytes | None) -> list[list[bytes]]:
    """Messages but for that one."""
    return [[each for each in messages if each != frame] for messages in got]


def played(steps: list[bytes], *, short: bool = True) -> Story:
    """One client says these things, each when the reply to the one before has come."""
    return Play(WAYS[0] if short else LONG).run([Step(data) for data in steps])


@given(plays(TEXTS, 1, [ALTERED, LOST, LEFT, FULL, DRAINED]), st.sampled_from(["transaction", "session", "statement"]))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
def test_the_same_conversation_the_short_and_the_long_way(steps: list[Step], pool_mode: str) -> None:
    """Whatever a client asks and however it arrives, client, server and plugins see the same."""
    long, *shorts = compare(steps, pool_mode=pool_mode)
    for short in shorts:
        assert (short.heard, short.parsed) == (long.heard, long.parsed)


@given(plays(READS, 3, [ALTERED, LEFT, FULL, DRAINED]))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
def test_the_same_conversations_behind_one_another(steps: list[Step]) -> None:
    """Clients whose reads stand behind one another on a shared server see the same, each its own."""
    compare([Step(query(sql), replies=100) for sql in READS for _ in range(4)] + steps, clients=3)


@given(plays([*SIBLINGS, "BEGIN", "COMMIT"], 1, []))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
def test_the_same_conversation_about_texts_that_differ_in_literals(steps: list[Step]) -> None:
    """Texts that share a verdict are remembered when they come again, and plugins are asked no more often."""
    long, *shorts = compare(steps)
    for short in shorts:
        assert len(short.parsed) <= len(long.parsed)


@given(plays(READS, 3, [ALTERED, LOST]))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
def test_every_request_ends_once_though_servers_are_lost(steps: list[Step]) -> None:
    """What stood on a shared server that is lost is asked again or fails: each request has exactly one end."""
    steps = [Step(query(sql)) for sql in READS for _ in range(4)] + steps
    for way in (LONG, *WAYS):
        story = Play(way, clients=3).run(steps)
        for client, got in enumerate(story.got):
            asked = sum(step.data.count(SYNC) + step.data.count(b"Q\0\0\0") for step in steps if step.client == client)
            assert got.count(READY) == asked


@pytest.mark.skipif(not COUNTED, reason="compiled code cannot be counted by patching")
def test_the_plays_go_the_short_way_and_share_servers() -> None:
    """What is compared above are two different ways indeed."""
    reads = [Step(extended("SELECT 1"), client=client, replies=0) for client in (0, 1, 2)]
    story = Play(WAYS[0], clients=3).run([Step(query("SELECT 1"))] * 4 + [*reads, Step(ALTERED)] * 4)
    assert story.shorts >= 4 + len(reads) * 2
    assert story.shared > 0


@pytest.mark.skipif(not COUNTED, reason="compiled code cannot be counted by patching")
def test_a_statement_that_the_server_has_is_only_bound() -> None:
    """From the third time on the server gets no Parse, and the client the ParseComplete all the same."""
    story = played([extended("SELECT a FROM t")] * 5)
    assert tags(story.heard[0]) == "PBDES" * 2 + "BDES" * 3
    assert b"".join(story.got[0]).count(ONE) == 5
    assert story.shorts == 3


@pytest.mark.parametrize("send", [query, extended])
@pytest.mark.parametrize("sql", ["SELECT a FROM t WHERE b = {}", "SELECT own({})"])
def test_a_text_is_looked_up_once_for_an_execution(send: Callable[[str], bytes], sql: str) -> None:
    """Plugins are asked about a text once, though one seen for the first time is not remembered yet."""
    texts = [sql.format(number) for number in range(4)]
    story = played([send(text) for text in texts])
    assert story.parsed == [text.encode() for text in texts]


def test_a_portal_of_pgbeams_own_does_not_outlive_the_next_statement() -> None:
    """Outside a transaction portals end with the request, those that no server knows with the next one at last."""
    steps = [parse("SHOW pgbeam.debug") + bind(b"", b"p") + SYNC, query("SELECT 1"), execute(b"p") + SYNC]
    assert played(steps).got == played(steps, short=False).got


def test_behind_a_question_of_pgbeams_own_parse_is_answered_once() -> None:
    """The server's state is asked for behind a function of the users' own; what comes next waits behind that."""
    ask = [Step(extended("SELECT a FROM t"))] * 3
    steps = [*ask, Step(query("SELECT own(1)"), replies=1), Step(ask[0].data, replies=0), Step(SYNC, replies=1)]
    got = Play(WAYS[0]).run(steps).got
    assert got == Play(LONG).run(steps).got
    assert b"".join(got[0]).count(ONE) == 4


def test_a_refused_parse_leaves_the_old_statement_as_it_was() -> None:
    """The columns that a client was told of are those that its statement is held to, whatever it failed to parse."""
    answers: list[Refusal] = []
    stage, _ = staged(lambda _: answers[0] if answers else None)
    description = backend.row_description([("a", 25, -1)])
    for parsed in (ONE, ONE, b""):
        stage.turn(extended("SELECT 1"), parsed + TWO + description + done() + READY)
    stage.turn(describe(b"", ord("S")) + SYNC, backend.ParameterDescription(()).to_bytes() + description + READY)
    known = stage.conversation.client_statements.statements[b""]
    answers.append(REFUSAL)
    assert tags(stage.send(extended("SELECT 1"))) == "EZ"
    assert stage.conversation.client_statements.statements[b""] is known
    assert known.description == description
