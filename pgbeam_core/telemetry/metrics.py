"""What one process counts, as plain data that travels between processes and adds up: families of samples."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pgbeam_core.api.metrics import Metric, Sample
from pgbeam_core.telemetry.stats import Histogram, ProjectStats

Family = dict[str, Any]
"""name, help, kind (counter, gauge, histogram), merge (sum, max), samples: [labels, number or counts and total]."""

MOST_SAMPLES = 500
"""Of one family of a plugin; what is beyond that is left out, and counted."""
MOST_STATS = 100
"""Numbers of a plugin that has no metrics, taken from its stats."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,99}")
_PROJECT: tuple[tuple[str, str, str, str], ...] = (
    ("clients", "clients", "gauge", "Clients now connected"),
    ("clients_total", "clients_connected", "counter", "Clients that have connected"),
    ("queries", "queries", "counter", "Executions of statements, whoever replied"),
    ("queries_answered", "queries_answered", "counter", "Executions that a plugin answered, without a server"),
    ("errors", "query_errors", "counter", "Executions that ended with an error"),
    ("transactions", "transactions", "counter", "Transactions that ended, single statements included"),
    ("transactions_lazy", "transactions_lazy", "counter", "Transactions that ended unknown to any server"),
    ("received_bytes", "received_bytes", "counter", "Bytes received from clients that are logged in"),
    ("sent_bytes", "sent_bytes", "counter", "Bytes sent to clients that are logged in"),
    ("client_parses", "client_parses", "counter", "Parse messages of clients"),
    ("server_parses", "server_parses", "counter", "Statements of clients that servers were made to parse"),
    ("binds", "binds", "counter", "Bind messages of clients"),
    ("assignments", "assignments", "counter", "How often a client got a server"),
    ("query_time", "query_seconds", "counter", "Time that servers took for requests"),
    ("transaction_time", "transaction_seconds", "counter", "Time that clients had a server in a transaction"),
    ("wait_time", "wait_seconds", "counter", "Time that clients waited for a server"),
)
"""Attribute of ProjectStats, name, kind, help."""


def family(name: str, text: str, samples: Iterable[Any], kind: str = "counter", merge: str = "sum") -> Family:
    return {
        "name": f"pgbeam_{name}",
        "help": text,
        "kind": kind,
        "merge": merge,
        "samples": [[dict(labels), value] for labels, value in samples],
    }


def of_projects(stats: Mapping[str, ProjectStats]) -> Iterator[Family]:
    """What the core counts of each project."""
    for attribute, name, kind, text in _PROJECT:
        samples = [({"project": project}, getattr(each, attribute)) for project, each in stats.items()]
        yield family(name, text, samples, kind)
    begun = [
        ({"project": project, "reason": reason}, count)
        for project, each in stats.items()
        for reason, count in each.transactions_begun.items()
    ]
    yield family("transactions_begun", "Transactions that were kept back and made real, by reason", begun)
    yield of_failed_logins({project: each.logins_failed for project, each in stats.items()})
    by_source = [
        ({"project": project, "source": source}, _plain(latency))
        for project, each in stats.items()
        for source, latency in each.latencies.items()
    ]
    text = "From the arrival of a request to the end of its reply, by who replied: server, or a plugin"
    yield family("query_duration_seconds", text, by_source, "histogram")
    for name, attribute, text in (
        ("server_duration_seconds", "server", "How long servers took for what they were asked"),
        ("server_wait_seconds", "waits", "How long those waited for a server who had to"),
    ):
        samples = [({"project": project}, _plain(getattr(each, attribute))) for project, each in stats.items()]
        yield family(name, text, samples, "histogram")


def of_failed_logins(counts: Mapping[str, Mapping[str, int]]) -> Family:
    """By project, and by reason."""
    samples = [
        ({"project": project, "reason": reason}, count)
        for project, reasons in counts.items()
        for reason, count in reasons.items()
    ]
    return family("logins_failed", "Logins that failed, by reason", samples)


def labelled(label: str, counts: Mapping[str, float]) -> list[Sample]:
    """A sample for each, its name being the value of that label."""
    return [({label: name}, count) for name, count in counts.items()]


def of_loop(stats: Mapping[str, float]) -> Iterator[Family]:
    """What the watchdog has seen."""
    yield family("loop_gaps", "Times that the event loop did not turn in time", [({}, stats["gaps"])])
    yield family("loop_gaps_held", "Those in which it was held by work", [({}, stats["gaps_held"])])
    longest: list[Sample] = [({}, stats["longest_held_ms"] / 1000)]
    yield family("loop_longest_held_seconds", "Longest time that work held the event loop", longest, "gauge", "max")


def of_process() -> Iterator[Family]:
    """What this process takes of its machine."""
    times = os.times()
    yield family("process_cpu_seconds", "Time on a processor", [({}, times.user + times.system)])
    resident = _resident_bytes()
    if resident is not None:
        yield family("process_resident_memory_bytes", "Memory of the processes", [({}, resident)], "gauge")


def _resident_bytes() -> int | None:
    """None where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def of_plugin(plugin: str, metrics: Sequence[Metric]) -> Iterator[Family]:
    """A plugin's own, under its name. Raises ValueError for one that cannot be shown."""
    prefix = re.sub(r"[^a-z0-9_]", "_", plugin.lower())
    for metric in metrics:
        if not _NAME.fullmatch(metric.name) or metric.kind not in ("counter", "gauge"):
            raise ValueError(f"{metric.name!r} is no name of a counter or gauge")
        samples = list(metric.samples)
        _check(metric.name, samples)
        kept = samples[:MOST_SAMPLES]
        yield family(f"{prefix}_{metric.name}", metric.help, kept, metric.kind, metric.merge)
        if len(samples) > len(kept):
            left_out = [({"plugin": plugin, "name": metric.name}, len(samples) - len(kept))]
            yield family("samples_left_out", "Samples of plugins beyond what one metric may have", left_out, "gauge")


def _check(name: str, samples: Sequence[Sample]) -> None:
    for labels, value in samples:
        if not isinstance(value, int | float):
            raise ValueError(f"a sample of {name} is no number")  # noqa: TRY004 -- all that is wrong with a metric
        if not all(_LABEL.fullmatch(label) for label in labels):
            raise ValueError(f"{name} has labels {list(labels)}")


def of_stats(plugin: str, stats: Mapping[str, Any]) -> Family:
    """What a plugin counts that says nothing about its kind."""
    samples = [({"plugin": plugin, "name": name}, value) for name, value in _numbers("", stats)][:MOST_STATS]
    return family("plugin_stats", "Numbers of plugins that tell no more than a name", samples, "gauge")


def _numbers(prefix: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{prefix}{name}.", value)
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value


def merged(parts: Iterable[Iterable[Family]]) -> list[Family]:
    """One account of those of several processes, or of several families of one name."""
    families: dict[str, Family] = {}
    sums: dict[str, dict[tuple[tuple[str, str], ...], Any]] = {}
    for part in parts:
        for each in part:
            name = each["name"]
            known = families.setdefault(name, {**each, "samples": []})
            column = sums.setdefault(name, {})
            for labels, value in each["samples"]:
                key = tuple(sorted(labels.items()))
                column[key] = _together(known["merge"], column[key], value) if key in column else value
    for name, column in sums.items():
        families[name]["samples"] = [[dict(key), value] for key, value in column.items()]
    return list(families.values())


def _together(how: str, one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        counts = [first + second for first, second in zip(one["counts"], other["counts"], strict=True)]
        return {"counts": counts, "total": one["total"] + other["total"]}
    return max(one, other) if how == "max" else one + other


def lasting(families: Iterable[Family]) -> list[Family]:
    """Of what a process counted that is gone now: what must not become less, counters and histograms."""
    return [each for each in families if each["kind"] != "gauge"]


def _plain(histogram: Histogram) -> dict[str, Any]:
    return {"counts": list(histogram.counts), "total": histogram.total}
