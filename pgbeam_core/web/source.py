"""What the web room needs of a running PgBeam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from pgbeam_core.control.registry import Control
from pgbeam_core.settings import Settings
from pgbeam_core.telemetry.metrics import Family
from pgbeam_core.web.replies import Refused

_STATUS = {
    "42704": 404,
    "22023": 400,
    "53400": 409,
    "57P01": 503,
    "57014": 503,
    "58030": 507,
    "42501": 403,
    "28000": 401,
    "28P01": 401,
    "08006": 503,
    "53300": 429,
    "57P03": 503,
    "3D000": 404,
    "42601": 400,
    "08P01": 400,
    "55000": 409,
}
"""SQLSTATE of an answer on the control socket → status of HTTP."""


class Source(Protocol):
    """One process, or a supervisor of several."""

    @property
    def reactor(self) -> Any: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def control(self) -> Control: ...
    @property
    def addresses(self) -> list[tuple[str, int]]: ...
    def metrics(self) -> list[Family] | Deferred[list[Family]]: ...
    def why_not_ready(self) -> str | None: ...
    def stats(self) -> dict[str, Any]: ...
    def latencies(self) -> Mapping[str, list[int]]: ...
    def panels(self) -> Any: ...


def ask(watched: Source, what: str, **arguments: Any) -> Deferred[Any]:
    """The answer of the control socket, of all workers together. Fails with Refused."""
    return watched.control.ask({"ask": what, **arguments}).addCallback(_result)


def _result(reply: dict[str, Any]) -> Any:
    if not reply["ok"]:
        raise Refused(_STATUS.get(reply["sqlstate"], 500), reply["error"], reply.get("hint"))
    return reply["result"]
