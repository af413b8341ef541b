"""Orders over HTTP: pause and resume, end a client; what the console's commands of these names do."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.web.parameters import only
from pgbeam_core.web.replies import HttpReply, HttpRequest, Refused, as_json
from pgbeam_core.web.source import Source, ask

log = Logger(__name__)

VERBS = ("pause", "resume", "reconnect", "disable", "enable", "kill_client")
"""What may be ordered: nothing that ends PgBeam or changes its settings."""
_FIELDS = ("command", "again")


class OrdersApi:
    """POST, with `dashboard_write`; each order is in the log with the address that gave it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def post(self, request: HttpRequest) -> Deferred[HttpReply]:
        """Do the command; `pending` says that it holds, and waits for servers that are in use."""
        only(request)
        if not self._source.settings.dashboard_write:
            raise Refused(403, "this dashboard only shows", "Set dashboard_write = true and start PgBeam again.")
        command, again = _order(request)
        log.info("{command} from {address}", command=command, address=request.address)
        by = f"the dashboard, from {request.address}"
        asked = ask(self._source, "console", command=command, verbs=VERBS, again=again, by=by)
        return asked.addCallback(lambda told: as_json({"tag": told["tag"], "pending": told["pending"]}))


def _order(request: HttpRequest) -> tuple[str, bool]:
    """What a body says. Raises Refused, with the field that is wrong."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "an order comes as application/json")
    try:
        given: Any = json.loads(request.body)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if not isinstance(given, dict) or any(name not in _FIELDS for name in given):
        raise Refused(400, 'an order is an object: {"command": "KILL_CLIENT 17"}')
    command, again = given.get("command"), given.get("again", False)
    if not isinstance(command, str) or not isinstance(again, bool):
        raise Refused(400, "command is a text, again is true or false")
    return command, again
