"""What a plugin gives Prometheus: numbers with names and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Sample = tuple[Mapping[str, str], float]
"""Labels, and the number."""


@dataclass(slots=True, frozen=True)
class Metric:
    """A family of numbers: `hits` of the plugin `cache` becomes pgbeam_cache_hits_total, if it is a counter.

    kind: `counter`, which only grows, or `gauge`. Names are of a-z, 0-9 and _, counters without `_total`; times are in
    seconds, sizes in bytes, and the name says so. Labels must be few and from the settings: projects, targets, reasons;
    never anything that clients can make up. merge: what those of several workers make, their `sum` or the `max`.
    """

    name: str
    help: str
    samples: Sequence[Sample]
    kind: str = "counter"
    merge: str = "sum"
