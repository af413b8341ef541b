"""Which of several servers is the primary, by what they say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.api.query import Role, Target
from pgbeam_core.upstream.verdict import Claim, Known, answer, judge, supersedes

A, B, C = (Target("shop", Role.PRIMARY, host, 5432) for host in "abc")
CLUSTER = 7


def primary(timeline: int, *, system: int = CLUSTER, read_only: bool = False, started: str = "") -> Claim:
    return Claim(recovering=False, system=system, timeline=timeline, read_only=read_only, started=started)


def standby(system: int = CLUSTER) -> Claim:
    return Claim(recovering=True, system=system)


def test_the_one_that_is_not_in_recovery_is_the_primary():
    """Wherever it stands in the list."""
    found = judge({A: standby(), B: primary(3), C: standby()}, Known(), None)
    assert found.primary == B
    assert found.known == Known(CLUSTER, 3)
    assert found.not_primary == {A: "it is in recovery", C: "it is in recovery"}
    assert not found.fenced


def test_of_two_that_take_writes_the_later_timeline_wins():
    """The old primary is known by its timeline even if nothing was known before."""
    found = judge({A: primary(1), B: primary(2)}, Known(), A)
    assert found.primary == B
    assert found.fenced == {A}
    assert "old primary, on timeline 1 of 2" in found.not_primary[A]


def test_an_old_primary_alone_is_not_taken():
    """Its successor is down, and what was written there would be lost on the old one."""
    found = judge({A: primary(1)}, Known(CLUSTER, 2), None)
    assert found.primary is None
    assert found.fenced == {A}


def test_a_server_of_another_cluster_is_never_the_primary():
    """An address may come to be somebody else's."""
    found = judge({A: primary(9, system=8), B: standby()}, Known(CLUSTER, 2), None)
    assert found.primary is None
    assert found.fenced == {A}
    assert "another cluster" in found.not_primary[A]


def test_most_members_say_which_cluster_it_is():
    """Where nothing was known before, one stray host does not rule out the others."""
    assert judge({A: primary(9, system=8), B: primary(2), C: standby()}, Known(), None).primary == B


def test_two_on_one_timeline_leave_it_to_the_one_that_had_it():
    """Nobody can tell them apart; at least writes do not go here and there."""
    claims = {A: primary(2, started="x"), B: primary(2, started="y")}
    assert judge(claims, Known(CLUSTER, 2), B).primary == B
    found = judge(claims, Known(CLUSTER, 2), None)
    assert (found.primary, found.fenced) == (A, {B})


def test_one_server_by_two_addresses_is_one():
    """localhost stands for two addresses of one server."""
    found = judge({A: primary(2, started="x"), B: primary(2, started="x")}, Known(), None)
    assert found.primary == A
    assert not found.fenced
    assert "by another address" in found.not_primary[B]


def test_read_write_asks_for_a_server_that_takes_writes():
    """Whoever sets default_transaction_read_only on a server has taken it out of service."""
    claims = {A: primary(2, read_only=True)}
    assert judge(claims, Known(), A, writable=True).primary is None
    assert judge(claims, Known(), A).primary == A


@given(
    st.dictionaries(
        st.sampled_from([A, B, C]),
        st.builds(
            Claim, recovering=st.booleans(), system=st.integers(7, 8), timeline=st.integers(1, 4), started=st.just("")
        ),
    ),
    st.integers(0, 4),
    st.sampled_from([None, A, B, C]),
)
def test_nobody_behind_the_latest_timeline_is_ever_chosen(claims, timeline, current):
    """Whatever they say: the primary takes writes, is of the known cluster, and on no earlier timeline than another."""
    known = Known(CLUSTER, timeline) if timeline else Known()
    found = judge(claims, known, current)
    assert set(found.not_primary) == set(claims) - {found.primary}
    if found.primary is not None:
        chosen = claims[found.primary]
        assert not chosen.recovering
        assert chosen.timeline >= timeline
        assert not timeline or chosen.system == CLUSTER
        of_it = [one.timeline for one in claims.values() if not one.recovering and one.system == chosen.system]
        assert chosen.timeline == max(of_it)


def test_a_promotion_since_then_needs_no_witness():
    """A later timeline of the same cluster can only be a promotion."""
    assert supersedes(primary(3), Known(CLUSTER, 2))
    assert not supersedes(primary(2), Known(CLUSTER, 2))
    assert not supersedes(primary(3, system=8), Known(CLUSTER, 2))
    assert not supersedes(primary(1), Known())


@pytest.mark.parametrize("row", [(), ("t",), (None, "7", None, "off", ""), ("f", "x", "00000001", "off", "")])
def test_what_is_no_answer_is_an_error(row):
    """Something else than PostgreSQL may listen there."""
    with pytest.raises(ValueError, match=r"\w"):
        answer(row)


def test_an_answer_is_read():
    """The timeline is a hexadecimal number."""
    assert answer(("f", "7", "0000000A", "off", "x")) == primary(10, started="x")
    assert answer(("t", "7", None, "on", "x")) == Claim(True, 7, 0, True, "x")
