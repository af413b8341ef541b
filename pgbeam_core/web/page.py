"""The page's files, read once."""

from __future__ import annotations

from importlib import resources

from pgbeam_core.web.replies import HttpReply, HttpRequest, Refused

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


class Files:
    """What is in `static`. None of it is secret: what the page shows it asks for with the token."""

    def __init__(self) -> None:
        self._files: dict[str, HttpReply] = {}
        for entry in (resources.files("pgbeam_core") / "web" / "static").iterdir():
            kind = _KINDS.get(f".{entry.name.rpartition('.')[2]}")
            if kind is not None:
                self._files[entry.name] = HttpReply(200, entry.read_bytes(), kind)

    def names(self) -> list[str]:
        return sorted(self._files)

    def index(self, request: HttpRequest) -> HttpReply:
        """The page itself, which shows nothing before somebody has logged in."""
        return self._files["index.html"]

    def openapi(self, request: HttpRequest) -> HttpReply:
        """What describes the API, in the terms of OpenAPI 3.1."""
        return self._files["openapi.json"]

    def file(self, request: HttpRequest, name: str) -> HttpReply:
        """One of its scripts, styles and pictures."""
        found = self._files.get(name)
        if found is None:
            raise Refused(404, f"there is nothing at {request.path[:200]}")
        return found
