"""Which of several servers is the primary, judged by what they say of themselves. No sockets, no clocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pgbeam_core.api.query import Target

Row = tuple[str | None, ...]

HOST_QUERY = b"""\
SELECT pg_catalog.pg_is_in_recovery(),
 (SELECT s.system_identifier FROM pg_catalog.pg_control_system() AS s),
 CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
  ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END,
 pg_catalog.current_setting('default_transaction_read_only'),
 pg_catalog.pg_postmaster_start_time()::pg_catalog.text"""
"""The timeline is read off the name of the file that is written now: the control file learns of a promotion late."""


class Known(NamedTuple):
    """What the primary was when it was last seen. A system of 0: it never was."""

    system: int = 0
    timeline: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one server has said."""

    recovering: bool
    system: int
    timeline: int = 0
    """0 in recovery."""
    read_only: bool = False
    started: str = ""
    """When it was started, to the microsecond: one server that is reached by two addresses is known by that."""


@dataclass(slots=True)
class Judgement:
    """primary: None if there is none. not_primary: why each of the others is not, for those that have answered."""

    primary: Target | None
    not_primary: dict[Target, str] = field(default_factory=dict)
    fenced: set[Target] = field(default_factory=set)
    """Those of them that take writes, and must not get any."""
    known: Known = Known()


def answer(row: Row) -> Claim:
    """The answer to HOST_QUERY. Raises ValueError if it is none."""
    if len(row) != 5 or row[0] is None or row[1] is None:
        raise ValueError("no answer of PostgreSQL's")
    recovering = row[0] == "t"
    timeline = 0 if recovering else int(row[2] or "", 16)
    return Claim(recovering, int(row[1]), timeline, row[3] == "on", row[4] or "")


def judge(
    answers: Mapping[Target, Claim], known: Known, current: Target | None, *, writable: bool = False
) -> Judgement:
    """Judge by answers in the order in which the members are listed.

    The primary is on the latest timeline that there ever was, of the cluster that it always was. `current` stays it
    where another one claims the same. writable: a server on which transactions are read only by default will not do.
    """
    verdict = Judgement(None, known=known)
    system = known.system or _most_common(answers)
    claims: dict[Target, Claim] = {}
    for member, said in answers.items():
        if said.system != system:
            _rule_out(verdict, member, said, f"it belongs to another cluster (system identifier {said.system})")
        elif said.recovering:
            verdict.not_primary[member] = "it is in recovery"
        elif writable and said.read_only:
            _rule_out(verdict, member, said, "default_transaction_read_only is on")
        else:
            claims[member] = said
    latest = max([known.timeline, *(said.timeline for said in claims.values())])
    for member, said in claims.items():
        if said.timeline < latest:
            _rule_out(verdict, member, said, f"it is an old primary, on timeline {said.timeline} of {latest}")
    heirs = [member for member, said in claims.items() if said.timeline == latest]
    if heirs:
        verdict.primary = current if current in heirs else heirs[0]
        verdict.known = Known(system, latest)
    for member in heirs:
        if member == verdict.primary or verdict.primary is None:
            continue
        if claims[member].started == claims[verdict.primary].started:
            verdict.not_primary[member] = f"it is {verdict.primary.address} by another address"
        else:
            _rule_out(verdict, member, claims[member], f"there are two primaries on timeline {latest}")
    return verdict


def supersedes(said: Claim, known: Known) -> bool:
    """Whether one answer is enough: it has been promoted since the last primary was seen."""
    return not said.recovering and said.system == known.system and said.timeline > known.timeline > 0


def _rule_out(verdict: Judgement, member: Target, said: Claim, why: str) -> None:
    verdict.not_primary[member] = why
    if not said.recovering:
        verdict.fenced.add(member)


def _most_common(answers: Mapping[Target, Claim]) -> int:
    """Of clusters with equally many members the one that is listed first."""
    counted = Counter(said.system for said in answers.values())
    return counted.most_common(1)[0][0] if counted else 0
