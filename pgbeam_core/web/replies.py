"""A request and a reply of HTTP, as far as they matter here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"


@dataclass(slots=True, frozen=True)
class HttpRequest:
    """One request, whole. Header names are in lower case; of a parameter given twice the last one counts."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    address: str = ""
    """Of who asks."""
    by: str = ""
    """Who asks, once that is known."""
    may_order: bool = False
    """Who asks may change something, where that can be changed at all."""


@dataclass(slots=True, frozen=True)
class HttpReply:
    """What is sent back, whole."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Instead of a reply: why not, with a status of HTTP, and what can be done about it."""

    def __init__(self, status: int, message: str, hint: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.headers = headers

    def reply(self) -> HttpReply:
        """In JSON: an object with error, and hint if there is one."""
        told = {"error": self.message} | ({"hint": self.hint} if self.hint else {})
        headers = {name.replace("_", "-"): value for name, value in self.headers.items()}
        return HttpReply(self.status, encoded(told), headers=headers)


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False).encode()


def as_json(value: Any, status: int = 200) -> HttpReply:
    return HttpReply(status, encoded(value))
