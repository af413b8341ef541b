"""What Prometheus is told of replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgbeam_core import Metric
from pgbeam_replica.health import Health
from pgbeam_replica.watch import Watch


def metrics(watches: Mapping[str, Watch]) -> Sequence[Metric]:
    """Each replica's state; with several workers the worst that one of them sees."""
    watched = [(name, health) for name, watch in watches.items() for health in watch.replicas]
    out = [(_labels(name, health), float(not health.usable)) for name, health in watched]
    lag = [(_labels(name, health), health.lag_s) for name, health in watched if health.lag_s is not None]
    failures = [(_labels(name, health), health.failures) for name, health in watched]
    routed = [({"project": name}, watch.routed) for name, watch in watches.items() if watch.replicas]
    fell_back = [({"project": name}, watch.fell_back) for name, watch in watches.items() if watch.replicas]
    return [
        Metric("out", "1 for a replica that is out, or too late, and gets no reads", out, "gauge", "max"),
        Metric("lag_seconds", "How far a replica is behind at least", lag, "gauge", "max"),
        Metric("failures", "Probes and connections that failed", failures),
        Metric("queries_routed", "Queries sent to a replica", routed),
        Metric("queries_fell_back", "Queries that went to the primary because the replica gave no server", fell_back),
    ]


def _labels(project: str, health: Health) -> Mapping[str, str]:
    return {"project": project, "target": health.target.address}
