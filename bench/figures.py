"""Figures of one run, and what several runs come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import median


@dataclass
class Sample:
    """One run. None: not measured. CPU times are per unit of work: a transaction, a copied row, a connection."""

    rate: float | None = None
    """Units per second."""
    proxy_us: float | None = None
    postgres_us: float | None = None
    client_us: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    bytes_each: float | None = None
    """Memory of the proxy per idle client."""
    clients: int | None = None
    """Idle clients that were connected."""
    beside_ms: float | None = None
    """The usual wait of a second client for its `select 1`."""
    longest_ms: float | None = None
    """Its longest."""

    @property
    def spread(self) -> float | None:
        """How many times slower than usual the slow ones are: p99 / p50."""
        return self.p99_ms / self.p50_ms if self.p50_ms and self.p99_ms else None


@dataclass(frozen=True)
class Goal:
    """What is wanted of PgBeam, or of another way `of`: `figure` at least (for bytes_each and spread: at most) `factor`
    times `against`'s.

    `against` None makes the factor the figure itself.
    """

    factor: float
    against: str | None = None
    figure: str = "rate"
    of: str = "pgbeam"


@dataclass
class Result:
    """All runs of one work."""

    work: str
    group: str
    unit: str
    goals: tuple[Goal, ...] = ()
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """Way to its runs, in order of the rounds."""
    failures: dict[str, str] = field(default_factory=dict)
    """Way to why it has no figures."""
    units: int = 1
    """Units in one run, where that is the same for all."""

    def middle(self, way: str) -> Sample | None:
        """The median of each figure; None without runs."""
        return middle(self.samples.get(way, ()))

    def ratio(self, way: str, against: str, figure: str = "rate") -> float | None:
        """Median of the rounds' ratios, which a machine that is slower for a while disturbs less than either figure."""
        pairs = zip(self.samples.get(way, ()), self.samples.get(against, ()), strict=False)
        both = [(getattr(one, figure), getattr(other, figure)) for one, other in pairs]
        ratios = [one / other for one, other in both if one and other]
        return median(ratios) if ratios else None

    def reached(self, goal: Goal) -> tuple[float, bool] | None:
        """(what came out, whether that is enough); None where one side is missing."""
        if goal.against is None:
            found = self.middle(goal.of)
            value = getattr(found, goal.figure) if found else None
        else:
            value = self.ratio(goal.of, goal.against, goal.figure)
        if value is None:
            return None
        return value, value >= goal.factor if goal.figure == "rate" else value <= goal.factor


def middle(samples: Sequence[Sample]) -> Sample | None:
    """Each figure's median, over the runs that have it."""
    if not samples:
        return None
    columns: Mapping[str, list[float]] = {
        column.name: [value for sample in samples if (value := getattr(sample, column.name)) is not None]
        for column in fields(Sample)
    }
    return Sample(**{name: median(values) for name, values in columns.items() if values})  # type: ignore[arg-type]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, -(-int(share * 1000) * len(ordered) // 1000) - 1))]
