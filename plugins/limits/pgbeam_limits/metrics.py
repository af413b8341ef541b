"""What Prometheus is told of limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgbeam_core import Metric

_REFUSED = "refused_by_"
_ENDED = "ended_by_"


def metrics(stats: Mapping[str, Mapping[str, int]]) -> Sequence[Metric]:
    """What was refused, by project and limit, and who is there."""
    refused = [
        ({"project": project, "limit": name.removeprefix(_REFUSED)}, value)
        for project, each in stats.items()
        for name, value in each.items()
        if name.startswith(_REFUSED)
    ]
    ended = [
        ({"project": project, "timeout": name.removeprefix(_ENDED)}, value)
        for project, each in stats.items()
        for name, value in each.items()
        if name.startswith(_ENDED)
    ]
    connections = [({"project": project}, each["connections"]) for project, each in stats.items()]
    running = [({"project": project}, each["queries_running"]) for project, each in stats.items()]
    failed = [({"project": project}, each["logins_failed"]) for project, each in stats.items()]
    return [
        Metric("refused", "Clients and queries refused, by the limit that they met", refused),
        Metric("ended", "Clients that were sent away by a timeout", ended),
        Metric("connections", "Clients that are logged in", connections, "gauge"),
        Metric("queries_running", "Clients that have queries running, or waiting for a server", running, "gauge"),
        Metric("logins_failed", "Logins refused for their credentials", failed),
    ]
