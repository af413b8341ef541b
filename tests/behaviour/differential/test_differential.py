"""Every conversation runs direct and through PgBeam, and what the client sees must be equal byte for byte."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ..beams import Beam, Direct
from ..clusters import Cluster
from ..conftest import BeamFactory
from ..quickly import SHARING
from . import scripts
from .dsl import CONVERSATIONS, Conversation
from .running import Transcript, alone, difference, interleaved

assert scripts.__name__, "importing the scripts registers the conversations"
Transcripts = tuple[Transcript, ...]
Expected = Callable[[Conversation, Cluster, bool], Transcripts]
WAYS = ["session", "transaction", pytest.param("not sharing", marks=pytest.mark.slow)]
LAZY = ("begin", "off")
"""What `lazy_transactions` may be beside its default, with which all other tests here play."""
QUICK_EVERY = 11
"""With these the tests play each so manieth conversation, and `make soak` plays all."""
SOAKING = pytest.mark.skipif("SOAK_SECONDS" not in os.environ, reason="for make soak")


@pytest.fixture(params=list(CONVERSATIONS.values()), ids=list(CONVERSATIONS))
def talk(request: pytest.FixtureRequest, cluster: Cluster) -> Conversation:
    """One of the conversations, if the server version has what it is about."""
    found: Conversation = request.param
    if cluster.version < found.since:
        pytest.skip(f"PostgreSQL {cluster.version} has none of this")
    return found


@pytest.fixture(scope="session")
def expected() -> Expected:
    """What the clients see direct, for one client or two; run once for all tests."""
    seen: dict[tuple[str, int, bool], Transcripts] = {}

    def of(talk: Conversation, cluster: Cluster, both: bool) -> Transcripts:
        key = (talk.name, cluster.port, both)
        if key not in seen:
            seen[key] = interleaved(Direct(cluster), talk) if both else (alone(Direct(cluster), talk),)
        return seen[key]

    return of


@pytest.mark.slow
def test_a_conversation_is_the_same_twice(talk: Conversation, cluster: Cluster, expected: Expected) -> None:
    """Two direct runs are equal and nobody waits in vain: the conversation itself is sound."""
    first = expected(talk, cluster, False)
    agree(talk, first, (alone(Direct(cluster), talk),))
    assert not silences(first)


@pytest.mark.slow
def test_two_interleaved_clients_are_the_same_twice(talk: Conversation, cluster: Cluster, expected: Expected) -> None:
    """Two clients taking turns direct are as repeatable: the interleaving itself is sound."""
    need_two(talk)
    first = expected(talk, cluster, True)
    agree(talk, first, interleaved(Direct(cluster), talk))
    assert not silences(first)


@pytest.mark.parametrize("way", WAYS)
def test_a_conversation_through_pgbeam(
    talk: Conversation, way: str, cluster: Cluster, shared_beam: BeamFactory, expected: Expected
) -> None:
    """One client sees through PgBeam what it sees direct."""
    if talk.goes_on and way != "session":
        pytest.skip("the session outlives its server")
    beam = (
        shared_beam(cluster, way)
        if way == "session"
        else pooled(shared_beam, cluster, talk, share=way == "transaction")
    )
    beam.complaints()
    agree(talk, expected(talk, cluster, False), (alone(beam, talk),))
    beam.wait_until_idle()
    assert beam.complaints() == []


@pytest.mark.parametrize("share", SHARING)
def test_two_clients_share_servers_in_transaction_mode(
    talk: Conversation, cluster: Cluster, shared_beam: BeamFactory, expected: Expected, share: bool
) -> None:
    """Two clients taking turns on one server (two, where each pins one) see what they see direct."""
    need_two(talk)
    if talk.goes_on:
        pytest.skip("the session outlives its server")
    beam = pooled(shared_beam, cluster, talk, share=share, max_active=2 if talk.pins else 1)
    beam.complaints()
    agree(talk, expected(talk, cluster, True), interleaved(beam, talk))
    beam.wait_until_idle()
    assert beam.complaints() == []


def less_lazy() -> list[Any]:
    """Every conversation with every other value of the setting, as parameters of a test: a sample of them is quick."""
    pairs = [(talk, lazy) for talk in CONVERSATIONS.values() for lazy in LAZY]
    return [
        pytest.param(*pair, id=f"{pair[0].name}-{pair[1]}", marks=_seldom(number)) for number, pair in enumerate(pairs)
    ]


def _seldom(number: int) -> tuple[pytest.MarkDecorator, ...]:
    # An odd step, so that each of the two values gets its share.
    return (pytest.mark.slow, SOAKING) if number % QUICK_EVERY else (pytest.mark.newest,)


@pytest.mark.parametrize(("talk", "lazy"), less_lazy())
def test_transactions_that_are_less_lazy(
    talk: Conversation, lazy: str, cluster: Cluster, shared_beam: BeamFactory, expected: Expected
) -> None:
    """Where BEGIN alone is kept back, and where nothing is, one client and two see what they see direct."""
    if talk.goes_on or cluster.version < talk.since:
        pytest.skip("the session outlives its server, or this server has none of it")
    beam = pooled(shared_beam, cluster, talk, share=True, lazy=lazy, max_active=2 if talk.pins else 1)
    beam.complaints()
    agree(talk, expected(talk, cluster, False), (alone(beam, talk),))
    if talk.interleaves:
        agree(talk, expected(talk, cluster, True), interleaved(beam, talk))
    beam.wait_until_idle()
    assert beam.complaints() == []


@pytest.mark.parametrize("share", [True, False])
def test_the_reads_of_conversations_are_shared(cluster: Cluster, shared_beam: BeamFactory, share: bool) -> None:
    """What these conversations ask stands on shared servers, unless that is turned off: they test what they should."""
    beam = pooled(shared_beam, cluster, None, share=share)
    for talk in (CONVERSATIONS["simple_select"], CONVERSATIONS["extended_select"]):
        before, deadline = beam.shared_turns(), time.monotonic() + 5
        alone(beam, talk)  # a first execution proves that it is small
        alone(beam, talk)
        while share and beam.shared_turns() == before and time.monotonic() < deadline:
            alone(beam, talk)  # nothing is shared until the catalog is known
        assert (beam.shared_turns() > before) is share


@pytest.mark.skipif("TEST_COMPILED" in os.environ, reason="compiled code cannot be counted by patching")
@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("again_reads", 10),
        ("again_named", 15),
        ("again_writes", 12),
        ("again_in_transactions", 9),
        ("again_literals", 6),
    ],
)
def test_what_is_said_again_goes_the_short_way(
    name: str, at_least: int, cluster: Cluster, shared_beam: BeamFactory
) -> None:
    """These conversations are about the short way of plain statements indeed."""
    beam = pooled(shared_beam, cluster, CONVERSATIONS[name], share=True)
    before = beam.short_turns()
    alone(beam, CONVERSATIONS[name])
    assert beam.short_turns() - before >= at_least


def pooled(
    make: BeamFactory, cluster: Cluster, talk: Conversation | None, *, share: bool, lazy: str = "", **pool: int
) -> Beam:
    """PgBeam in transaction mode, with plain reads on shared servers or not, lazy as by default or as told."""
    # With trust the second client need not wait for a server of its own to log in on. It is told that it is in first.
    login = {} if talk is not None and talk.parameters else {"auth": "trust"}
    project = {**login, **({"lazy_transactions": lazy} if lazy else {})}
    settings = {"plugins": {"pool": {"share": share, **pool}}}
    return make(cluster, "transaction", settings=settings, witnessed=True, project=project)


def need_two(talk: Conversation) -> None:
    """Skip a conversation in which two clients would rightly block or disturb each other."""
    if not talk.interleaves:
        pytest.skip("two clients would rightly disturb each other")


def agree(talk: Conversation, direct: Sequence[Transcript], beam: Sequence[Transcript]) -> None:
    """Fail with the first frame that differs."""
    for who, want, have in zip("ab", direct, beam, strict=False):
        if found := difference(want, have, talk.masks, own=talk.own):
            pytest.fail(f"{talk.name} ({talk.doc}), client {who}: {found}", pytrace=False)


def silences(transcripts: Transcripts) -> int:
    """How often a client waited for a frame that did not come."""
    frames = [frame for transcript in transcripts for step in transcript for frame in step]
    return sum(frame == (b"!", b"timeout") for frame in frames)
