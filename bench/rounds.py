"""Performs the works, each way in turn, round after round."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import RunFailed, Skipped
from bench.figures import Result
from bench.places import NAMES
from bench.stage import Stage, tell
from bench.works import Work


def perform(stage: Stage, work: Work, rounds: int) -> Result:
    """All rounds of one work. A way that fails once is left out from then on, with the reason."""
    result = Result(work.name, work.group, work.unit, work.goals, units=getattr(work, "rows", 1))
    ready = [way for way in work.ways if way in stage.places and _attempt(stage, work, way, result, measure=False)]
    for number in range(rounds):
        # Whoever is first has a quieter machine, so that changes.
        turned = number % len(ready) if ready else 0
        for way in [*ready[turned:], *ready[:turned]]:
            if way not in result.failures:
                _attempt(stage, work, way, result, measure=True)
    tell(f"{work.name}: {_summary(result, work.ways)}")
    return result


def _attempt(stage: Stage, work: Work, way: str, result: Result, *, measure: bool) -> bool:
    place = stage.places[way]
    try:
        if measure:
            result.samples.setdefault(way, []).append(work.once(stage, place))
        else:
            work.prepare(stage, place)
    except (RunFailed, Skipped) as reason:
        result.failures[way] = str(reason)
        return False
    return True


def _summary(result: Result, ways: Sequence[str]) -> str:
    parts = []
    for way in ways:
        found = result.middle(way)
        if found is not None and found.bytes_each is not None:
            parts.append(f"{NAMES[way]} {found.bytes_each:,.0f} bytes each")
        elif found is not None:
            parts.append(f"{NAMES[way]} {found.rate:,.0f}/s")
        elif way in result.failures:
            parts.append(f"{NAMES[way]}: {result.failures[way]}")
    return ", ".join(parts)
