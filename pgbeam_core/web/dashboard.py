"""The dashboard: a page for people and an API for programs, for who has the token or an operator's password."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.net.unauthenticated import neighbourhood
from pgbeam_core.web.api import Api
from pgbeam_core.web.entrance import WebEntrance
from pgbeam_core.web.history import History
from pgbeam_core.web.orders import OrdersApi
from pgbeam_core.web.page import Files
from pgbeam_core.web.replies import HttpRequest
from pgbeam_core.web.routes import Handler, Routes
from pgbeam_core.web.rules import RulesApi
from pgbeam_core.web.source import Source
from pgbeam_core.web.tail import LogTail

log = Logger(__name__)

TABLES = ("pools", "clients", "servers")
"""Tables of the console with an address of their own."""
_LOCAL = ("127.", "::1", "localhost")


class Dashboard:
    """Remembers traffic and log from `start` to `stop`, and answers what is asked about them."""

    def __init__(self, source: Source, version: str) -> None:
        self._source = source
        self._history = History(source)
        self._tail = LogTail(source)
        self._api = Api(source, version)
        self._rules = RulesApi(source, self._api)
        self._orders = OrdersApi(source)
        self._files = Files()
        source.control.answer("log", lambda request: self._tail.lines(int(request.get("since") or 0)))
        self._entrance = WebEntrance(source, neighbourhood)

    def start(self, host: str) -> None:
        """Begin to look. host: where it is served."""
        self._history.start()
        self._tail.start()
        if not host.startswith(_LOCAL):
            log.warn(
                "the dashboard's token, and passwords, go over the network as they are: put a proxy with TLS before "
                "{host}, or let metrics_listen be an address of this machine only",
                host=host,
            )

    def stop(self) -> None:
        self._history.stop()
        self._tail.stop()

    def add_to(self, routes: Routes) -> None:
        """The page, its files and the API, all that shows something behind the entrance."""
        files, api, rules = self._files, self._api, self._rules
        routes.add("GET", "/", files.index)
        routes.add("GET", "/static/{name}", files.file)
        routes.add("GET", "/v1/openapi.json", files.openapi)
        routes.add("POST", "/v1/login", self._entrance.log_in)
        routes.add("DELETE", "/v1/login", self._entrance.log_out)
        own = "/v1/projects/{project}/cache-rules"
        answers: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/v1/session", api.session),
            ("GET", "/v1/stats", api.stats),
            ("GET", "/v1/workers", api.workers),
            ("GET", "/v1/view", api.view),
            ("GET", "/v1/history", self._history.since),
            ("GET", "/v1/log", self._tail.since),
            ("GET", "/v1/projects", api.projects),
            ("GET", "/v1/shapes", api.shapes),
            ("GET", "/v1/tables/{name}", api.table),
            *(("GET", f"/v1/{name}", partial(_table, api, name)) for name in TABLES),
            ("POST", "/v1/console", self._orders.post),
            ("GET", own, rules.list),
            ("GET", f"{own}/{{query_hash}}", rules.get),
            ("PUT", f"{own}/{{query_hash}}", rules.put),
            ("DELETE", f"{own}/{{query_hash}}", rules.delete),
        )
        for method, path, handler in answers:
            routes.add(method, path, self._behind(handler))

    def _behind(self, handler: Handler) -> Handler:
        def checked(request: HttpRequest, **values: str) -> Any:
            admitted = self._entrance.admit(request)
            if isinstance(admitted, Deferred):
                return admitted.addCallback(handler, **values)
            return handler(admitted, **values)

        return checked


def _table(api: Api, name: str, request: HttpRequest) -> Any:
    return api.table(request, name)
