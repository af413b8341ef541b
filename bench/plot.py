"""A picture of the rates, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from bench.errors import Skipped
from bench.figures import Result
from bench.places import NAMES

COLOURS = {"pgbouncer": "#8aa1b1", "pgpool": "#c9b18a", "sent": "#e2a3ab", "pgbeam": "#d1495b"}
INCH_PER_WORK = 0.55
LONGEST = 4.0
"""Bars end there: PgBouncer's kept connections are many times faster than new ones, and all else would vanish."""


def draw(results: Sequence[Result], path: Path) -> None:
    """Write a PNG: for each work a bar for each proxy, as a multiple of the direct connection. Skipped says why not."""
    try:
        # By name: it is optional, and without it there is nothing for a type checker to look into.
        import_module("matplotlib").use("Agg")
        pyplot = import_module("matplotlib.pyplot")
    except ImportError:
        raise Skipped("no plot: pip install 'pgbeam[bench]' brings matplotlib") from None

    shown = [result for result in results if result.ratio("pgbeam", "direct") is not None]
    if not shown:
        raise Skipped("no plot: nothing to compare with a direct connection")
    figure, axes = pyplot.subplots(figsize=(9, 1.4 + INCH_PER_WORK * len(shown)), layout="constrained")
    ways = [way for way in COLOURS if any(result.ratio(way, "direct") for result in shown)]
    height = 0.8 / len(ways)
    for number, way in enumerate(ways):
        ratios = [result.ratio(way, "direct") or 0 for result in shown]
        places = [place + (number - (len(ways) - 1) / 2) * height for place in range(len(shown))]
        bars = axes.barh(
            places, [min(ratio, LONGEST) for ratio in ratios], height, label=NAMES[way], color=COLOURS[way]
        )
        axes.bar_label(bars, labels=[f"{ratio:.2f}" if ratio else "" for ratio in ratios], padding=2, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [result.work for result in shown])
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.01)
    axes.set_xlabel(f"rate, direct connection = 1 (bars end at {LONGEST:g})")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
