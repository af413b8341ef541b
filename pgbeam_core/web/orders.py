"""Orders over HTTP: pause and resume, end a client; what the console's commands of these names do."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.web.bodies import object_of
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
        may_write(self._source, request)
        command, again = _order(request)
        log.info("{command} from {address}, by {by}", command=command, address=request.address, by=request.by)
        by = f"{request.by} at the dashboard, from {request.address}"
        asked = ask(self._source, "console", command=command, verbs=VERBS, again=again, by=by)
        return asked.addCallback(lambda told: as_json({"tag": told["tag"], "pending": told["pending"]}))


def may_write(source: Source, request: HttpRequest) -> None:
    """Raises Refused where nothing may be changed over HTTP, or not by who asks."""
    if not source.settings.dashboard_write:
        raise Refused(403, "this dashboard only shows", "Set dashboard_write = true and start PgBeam again.")
    if not request.may_order:
        raise Refused(403, f'user "{request.by}" may only look', "admin_users may change something.")


def _order(request: HttpRequest) -> tuple[str, bool]:
    """What a body says. Raises Refused, with the field that is wrong."""
    given = object_of(request, _FIELDS, '{"command": "KILL_CLIENT 17"}')
    command, again = given.get("command"), given.get("again", False)
    if not isinstance(command, str) or not isinstance(again, bool):
        raise Refused(400, "command is a text, again is true or false")
    return command, again
