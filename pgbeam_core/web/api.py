"""The JSON API: what PgBeam counts and knows, read only. Rules are in `rules`."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core.web.parameters import only, whole_number, word
from pgbeam_core.web.replies import HttpReply, HttpRequest, Refused, as_json
from pgbeam_core.web.source import Source, ask

MOST_ROWS = 500
"""Of one reply. The loop writes so many in some milliseconds."""
SORTS = ("calls", "total_ms", "avg_ms", "p95_ms", "hits", "stability", "saved_s", "last_seen", "query")
LONGEST_S = 2_147_483_647


class Api:
    """Each method answers a path."""

    def __init__(self, source: Source, version: str) -> None:
        self._source = source
        self._version = version

    def session(self, request: HttpRequest) -> HttpReply:
        """Whether the token is right, and what it lets one do."""
        only(request)
        settings = self._source.settings
        write = settings.dashboard_write and request.may_order
        return as_json({"version": self._version, "write": write, "by": request.by, "workers": settings.workers})

    def stats(self, request: HttpRequest) -> Deferred[HttpReply]:
        """All counters: of the core by project, of each plugin under its name."""
        only(request)
        return ask(self._source, "stats").addCallback(self._with_state)

    def _with_state(self, stats: dict[str, Any]) -> HttpReply:
        reason = self._source.why_not_ready()
        return as_json({"version": self._version, "state": reason or "ready", **stats})

    def view(self, request: HttpRequest) -> Deferred[HttpReply]:
        """What `pgbeam top` shows: counters, latencies, panels of plugins."""
        only(request)
        return ask(self._source, "view").addCallback(as_json)

    def workers(self, request: HttpRequest) -> Deferred[HttpReply]:
        """Number, process id, clients and seconds since its start, of each."""
        only(request)
        return ask(self._source, "workers").addCallback(lambda rows: as_json({"workers": rows}))

    def projects(self, request: HttpRequest) -> HttpReply:
        """As the settings have them, without passwords."""
        only(request)
        found = [
            {
                "name": name,
                "primary": project.primary.address,
                "replicas": [replica.address for replica in project.replicas],
                "hostnames": list(project.hostnames),
                "pool_mode": project.pool_mode,
                "auth": project.auth,
                "lazy_transactions": project.lazy_transactions,
                "auto_read_routing": project.auto_read_routing,
                "default": project.default,
            }
            for name, project in self._source.settings.projects.items()
        ]
        return as_json({"projects": found})

    def shapes(self, request: HttpRequest) -> Deferred[HttpReply]:
        """The shapes of queries seen lately, and what a rule of `ttl` and `swr` seconds would have given."""
        only(request, "project", "search", "sort", "limit", "offset", "ttl", "swr")
        project = word(request, "project")
        if project is not None:
            self.known(project)
        return ask(
            self._source,
            "cache.shapes",
            project=project,
            search=word(request, "search"),
            sort=word(request, "sort", SORTS) or "calls",
            limit=whole_number(request, "limit", 50, least=1, most=MOST_ROWS),
            offset=whole_number(request, "offset", 0, least=0, most=10_000),
            ttl=whole_number(request, "ttl", 60, least=0, most=LONGEST_S),
            swr=whole_number(request, "swr", 30, least=0, most=LONGEST_S),
        ).addCallback(as_json)

    def table(self, request: HttpRequest, name: str) -> Deferred[HttpReply]:
        """What SHOW of that name tells on the console, as columns and rows."""
        only(request, "limit")
        most = whole_number(request, "limit", MOST_ROWS, least=1, most=MOST_ROWS)
        wanted = name.upper().replace("-", "_")
        return ask(self._source, "tables", names=[wanted]).addCallback(partial(_cut, wanted, most))

    def known(self, project: str) -> None:
        """Raises Refused where the settings know no such project."""
        if project not in self._source.settings.projects:
            raise Refused(404, f'there is no project "{project[:100]}"')


def _cut(name: str, most: int, tables: dict[str, Any]) -> HttpReply:
    table = tables.get(name)
    if table is None:
        raise Refused(404, f"there is no table {name[:100]}")
    rows = table["rows"]
    return as_json({"columns": table["columns"], "rows": rows[:most], "total": len(rows)})
