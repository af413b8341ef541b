"""Cache rules over HTTP: which shapes of a project's queries are cached, and for how long."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.web.api import LONGEST_S, Api
from pgbeam_core.web.bodies import object_of
from pgbeam_core.web.orders import may_write
from pgbeam_core.web.parameters import only
from pgbeam_core.web.replies import HttpReply, HttpRequest, Refused, as_json
from pgbeam_core.web.source import Source, ask

log = Logger(__name__)

_HASH = re.compile(r"[0-9a-f]{16}")
_FIELDS = ("enabled", "ttl", "swr")


class RulesApi:
    """GET, PUT and DELETE. What changes something needs `dashboard_write`, and is in the log."""

    def __init__(self, source: Source, api: Api) -> None:
        self._source = source
        self._api = api

    def list(self, request: HttpRequest, project: str) -> Deferred[HttpReply]:
        """All rules that hold in a project."""
        only(request)
        self._api.known(project)
        asked = ask(self._source, "cache-rules.rules", project=project)
        return asked.addCallback(lambda rules: as_json({"rules": rules}))

    def get(self, request: HttpRequest, project: str, query_hash: str) -> Deferred[HttpReply]:
        """One of them, or 404 if none holds for that shape."""
        only(request)
        self._check(project, query_hash)
        asked = ask(self._source, "cache-rules.rules", project=project)
        return asked.addCallback(lambda rules: as_json(_one(rules, query_hash)))

    def put(self, request: HttpRequest, project: str, query_hash: str) -> Deferred[HttpReply]:
        """Make it, or change it: what is not given is as if there were no rule before."""
        only(request)
        may_write(self._source, request)
        self._check(project, query_hash)
        rule = _rule(request)
        asked = ask(self._source, "cache-rules.set", project=project, query_hash=query_hash, **rule)
        asked.addCallback(lambda _: self._said("set", project, query_hash, request, **rule))
        return asked.addCallback(lambda _: as_json({"project": project, "query_hash": query_hash, **rule}))

    def delete(self, request: HttpRequest, project: str, query_hash: str) -> Deferred[HttpReply]:
        """Take it away, so that what holds without it holds again."""
        only(request)
        may_write(self._source, request)
        self._check(project, query_hash)

        def gone(there: bool) -> HttpReply:
            if not there:
                raise Refused(404, f"there is no rule for {query_hash}")
            self._said("taken away", project, query_hash, request)
            return HttpReply(204)

        return ask(self._source, "cache-rules.unset", project=project, query_hash=query_hash).addCallback(gone)

    def _check(self, project: str, query_hash: str) -> None:
        self._api.known(project)
        if not _HASH.fullmatch(query_hash):
            raise Refused(400, f'"{query_hash[:50]}" is no query hash of 16 hex digits')

    def _said(self, what: str, project: str, query_hash: str, request: HttpRequest, **rule: Any) -> None:
        log.info(
            "cache rule {query_hash} of {project} {what} from {address} by {by}: {rule}",
            by=request.by,
            query_hash=query_hash,
            project=project,
            what=what,
            address=request.address,
            rule=rule,
        )


def _one(rules: list[dict[str, Any]], query_hash: str) -> dict[str, Any]:
    for rule in rules:
        if rule["query_hash"] == query_hash:
            return rule
    raise Refused(404, f"there is no rule for {query_hash}")


def _rule(request: HttpRequest) -> dict[str, Any]:
    """What a body says. Raises Refused, with the field that is wrong."""
    given = object_of(request, _FIELDS, '{"enabled": true, "ttl": 60, "swr": 30}')
    enabled = given.get("enabled", True)
    if not isinstance(enabled, bool):
        raise Refused(400, "enabled is true or false")
    for name in ("ttl", "swr"):
        value = given.get(name)
        if value is not None and (type(value) is not int or not 0 <= value <= LONGEST_S):
            raise Refused(400, f"{name} is a whole number of seconds from 0 to {LONGEST_S}, or null")
    return {"enabled": enabled, "ttl": given.get("ttl"), "swr": given.get("swr")}
