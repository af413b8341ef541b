"""Every conversation runs direct and through PgBeam, and what the client sees must be equal byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ..beams import Direct
from ..clusters import Cluster
from ..conftest import BeamFactory
from . import scripts
from .dsl import CONVERSATIONS, Conversation
from .running import Transcript, alone, difference, interleaved

assert scripts.__name__, "importing the scripts registers the conversations"
Transcripts = tuple[Transcript, ...]
Expected = Callable[[Conversation, Cluster, bool], Transcripts]


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


@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
def test_a_conversation_through_pgbeam(
    talk: Conversation, pool_mode: str, cluster: Cluster, shared_beam: BeamFactory, expected: Expected
) -> None:
    """One client sees through PgBeam what it sees direct."""
    if talk.goes_on and pool_mode != "session":
        pytest.skip("the session outlives its server")
    beam = shared_beam(cluster, pool_mode)
    beam.complaints()
    agree(talk, expected(talk, cluster, False), (alone(beam, talk),))
    beam.wait_until_idle()
    assert beam.complaints() == []


def test_two_clients_share_servers_in_transaction_mode(
    talk: Conversation, cluster: Cluster, shared_beam: BeamFactory, expected: Expected
) -> None:
    """Two clients taking turns on one server (two, where each pins one) see what they see direct."""
    need_two(talk)
    if talk.goes_on:
        pytest.skip("the session outlives its server")
    servers = 2 if talk.pins else 1
    beam = shared_beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": servers}}})
    beam.complaints()
    agree(talk, expected(talk, cluster, True), interleaved(beam, talk))
    beam.wait_until_idle()
    assert beam.complaints() == []


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
