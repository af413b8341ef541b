"""Where a TUI gets what it shows: of the PgBeam in this process, or of one that runs elsewhere."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from rich.text import Text
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from pgbeam_core.control.client import ask_running
from pgbeam_core.control.registry import Control
from pgbeam_core.errors import PgBeamError

Ask = Callable[..., "Deferred[Any]"]
"""ask(what, name=value, …) gives a Deferred of the answer; it fails with PgBeamError."""
_SECONDS = 10.0


def own(control: Control) -> Ask:
    """Asks the PgBeam of this process."""

    def ask(what: str, **arguments: Any) -> Deferred[Any]:
        return control.ask({"ask": what, **arguments}).addCallback(_result)

    return ask


def _result(reply: Mapping[str, Any]) -> Any:
    if not reply["ok"]:
        raise PgBeamError(reply["error"], sqlstate=reply["sqlstate"])
    return reply["result"]


def by_socket(state_dir: Path) -> Callable[..., Any]:
    """Asks over a control socket, and blocks."""
    return lambda what, **arguments: ask_running(state_dir, what, **arguments)


class OverHttp:
    """Asks the API of a dashboard, and blocks."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def __call__(self, what: str, **arguments: Any) -> Any:
        """Like the control socket, as far as a TUI asks."""
        if what == "tables":
            return {name: self._get(f"/v1/tables/{quote(name, safe='')}") for name in arguments["names"]}
        if what in ("cache-rules.set", "cache-rules.unset"):
            project, query_hash = (quote(str(arguments.pop(name)), safe="") for name in ("project", "query_hash"))
            path = f"/v1/projects/{project}/cache-rules/{query_hash}"
            return self._send("PUT", path, arguments) if what == "cache-rules.set" else self._send("DELETE", path)
        if what == "console":
            return self._send("POST", "/v1/console", arguments)
        paths = {"view": "/v1/view", "log": "/v1/log", "cache.shapes": "/v1/shapes"}
        given = {name: value for name, value in arguments.items() if value not in (None, "")}
        return self._get(paths[what] + (f"?{urlencode(given)}" if given else ""))

    def _get(self, path: str) -> Any:
        return self._send("GET", path)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
                text = reply.read()
        except urllib.error.HTTPError as error:
            with error:
                raise _told(error.code, error.read()) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise PgBeamError(f"no dashboard answers at {self._url}, {reason}", sqlstate="08001") from error
        return json.loads(text) if text else True


def _told(status: int, body: bytes) -> PgBeamError:
    """The error that a refusal of the dashboard is, with its hint and a SQLSTATE that fits its status."""
    try:
        told = json.loads(body)
        message, hint = str(told["error"]), told.get("hint")
    except (ValueError, KeyError, TypeError):
        message, hint = f"the dashboard answers with {status}", None
    state = {404: "42704", 403: "42501", 401: "28P01"}.get(status, "58000")
    return PgBeamError(message, sqlstate=state, hint=hint)


def in_threads(reactor: Any, blocking: Callable[..., Any]) -> Ask:
    """Asks on a thread of the pool, so that the loop goes on meanwhile."""

    def ask(what: str, **arguments: Any) -> Deferred[Any]:
        asked: Deferred[Any] = deferToThreadPool(reactor, reactor.getThreadPool(), blocking, what, **arguments)
        return asked

    return ask


class Elsewhere:
    """A PgBeam in another process, as a TUI looks at one: how it was when it was asked last."""

    def __init__(self, reactor: Any, seen: Mapping[str, Any]) -> None:
        self.reactor = reactor
        self.took(seen)

    def took(self, seen: Mapping[str, Any]) -> None:
        """It has been asked again."""
        self._seen = seen
        self.settings = _Settings(dict.fromkeys(seen["projects"]), seen["log_level"])
        self.addresses = [(str(host), int(port)) for host, port in seen["addresses"]]

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self._seen["stats"]
        return found

    def latencies(self) -> Mapping[str, list[int]]:
        found: Mapping[str, list[int]] = self._seen["latencies"]
        return found

    def panels(self) -> list[tuple[str, Any]]:
        return [(name, Text.from_ansi(text)) for name, text in self._seen["panels"]]

    @property
    def up_s(self) -> float:
        return float(self._seen["up_s"])


class _Settings:
    """As far as a TUI shows them."""

    def __init__(self, projects: Mapping[str, Any], log_level: str) -> None:
        self.projects = projects
        self.log_level = log_level
