"""What came out, as Markdown for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.figures import Goal, Result, Sample
from bench.places import NAMES

NOTHING = "–"
WORDS = {"rate": "rate", "spread": "p99/p50", "bytes_each": "bytes per client", "p50_ms": "p50 ms"}


@dataclass(frozen=True)
class Report:
    """Everything a reader gets."""

    results: Sequence[Result]
    facts: Mapping[str, str]
    """The machine, the versions, and how long was measured."""
    skipped: Mapping[str, str]
    """Ways that were left out, with the reason."""

    def markdown(self) -> str:
        """Tables of rates, of CPU time and latency, of waits, of memory, and of goals; then the notes."""
        timed = [result for result in self.results if result.group != "idle"]
        idle = [result for result in self.results if result.group == "idle"]
        batches = [result for result in self.results if result.group in ("batch", "login")]
        parts = [", ".join(f"{name}: {value}" for name, value in self.facts.items())]
        if timed:
            parts += ["### Rates", _rates(timed), "### CPU time and latency", _costs(timed)]
        if batches:
            parts += ["### Another client meanwhile", _beside(batches)]
        if idle:
            parts += ["### Memory", _memory(idle)]
        if goals := _goals(self.results):
            parts += ["### Goals", goals]
        if notes := self._notes():
            parts += ["### Left out", notes]
        return "\n\n".join(parts) + "\n"

    def json(self) -> str:
        """Every sample of every round."""
        results = [asdict(result) for result in self.results]
        return (
            json.dumps({"facts": dict(self.facts), "skipped": dict(self.skipped), "results": results}, indent=1) + "\n"
        )

    def _notes(self) -> str:
        lines = [f"- {NAMES[way]}: {reason}" for way, reason in self.skipped.items()]
        for result in self.results:
            lines += [f"- {NAMES[way]} at {result.work}: {reason}" for way, reason in result.failures.items()]
        return "\n".join(lines)


def _rates(results: Sequence[Result]) -> str:
    header = ["transactions per second", *NAMES.values(), "PgBeam / PgBouncer", "PgBeam / direct", "PgBeam / pgpool-II"]
    rows = []
    for result in results:
        found = [result.middle(way) for way in NAMES]
        rates = [_number(one.rate if one else None, ",.0f") for one in found]
        ratios = [_number(result.ratio("pgbeam", way), ".2f") for way in ("pgbouncer", "direct", "pgpool")]
        unit = "" if result.unit == "transaction" else f", {result.unit}s"
        rows.append([f"{result.work}{unit}", *rates, *ratios])
    return table(header, rows)


def _costs(results: Sequence[Result]) -> str:
    header = [
        "µs of CPU per transaction or row",
        "by way of",
        "proxy",
        "PostgreSQL",
        "client",
        "all",
        "p50 ms",
        "p99 ms",
        "p99/p50",
    ]
    rows = []
    for result in results:
        for way, name in NAMES.items():
            if found := result.middle(way):
                rows.append([result.work, name, *_cost(found, ".3f" if result.unit == "row" else ".1f")])
    return table(header, rows)


def _cost(sample: Sample, shape: str) -> list[str]:
    parts = (sample.proxy_us, sample.postgres_us, sample.client_us)
    times = [_number(part, shape) for part in (*parts, sum(part for part in parts if part is not None))]
    return [*times, _number(sample.p50_ms, ".2f"), _number(sample.p99_ms, ".2f"), _number(sample.spread, ".1f")]


def _beside(results: Sequence[Result]) -> str:
    header = ["meanwhile", "by way of", "batch or login, ms", "usual wait, ms", "longest wait, ms"]
    rows = []
    for result in results:
        for way, name in NAMES.items():
            if found := result.middle(way):
                took_ms = None if found.rate is None else result.units * 1000 / found.rate
                waits = [_number(found.beside_ms, ".2f"), _number(found.longest_ms, ".1f")]
                rows.append([result.work, name, _number(took_ms, ",.0f"), *waits])
    return table(header, rows)


def _memory(results: Sequence[Result]) -> str:
    header = ["idle", "by way of", "clients", "bytes per client", "connected per second"]
    rows = []
    for result in results:
        for way, name in NAMES.items():
            if found := result.middle(way):
                numbers = [_number(value, ",.0f") for value in (found.clients, found.bytes_each, found.rate)]
                rows.append([result.work, name, *numbers])
    return table(header, rows)


def _goals(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        for goal in result.goals:
            if reached := result.reached(goal):
                value, enough = reached
                number = _number(value, ",.0f" if goal.figure == "bytes_each" else ".2f")
                rows.append([result.work, _wanted(goal), number, "yes" if enough else "no"])
    return table(["work", "wanted of PgBeam", "is", "reached"], rows) if rows else ""


def _wanted(goal: Goal) -> str:
    bound = "≥" if goal.figure == "rate" else "≤"
    if goal.against is None:
        return f"{WORDS[goal.figure]} {bound} {goal.factor:,g}"
    of = "" if goal.of == "pgbeam" else f"{NAMES[goal.of]}: "
    return f"{of}{WORDS[goal.figure]} {bound} {goal.factor:g} × {NAMES[goal.against]}"


def _number(value: float | None, shape: str) -> str:
    return NOTHING if value is None else format(value, shape)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as plain text: words left, numbers right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    words = [all(not _is_number(row[column]) for row in rows) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        pairs = zip(cells, widths, words, strict=True)
        return "| " + " | ".join(cell.ljust(width) if left else cell.rjust(width) for cell, width, left in pairs) + " |"

    pairs = zip(widths, words, strict=True)
    rule = "|" + "|".join(f"{'-' * (width + 2)}" if left else f"{'-' * (width + 1)}:" for width, left in pairs) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def _is_number(cell: str) -> bool:
    return cell == NOTHING or cell.replace(",", "").replace(".", "").isdigit()
