"""Whether PgBeam is there, and whether clients are welcome."""

from __future__ import annotations

from pgbeam_core.web.replies import TEXT, HttpReply, HttpRequest
from pgbeam_core.web.source import Source


class HealthChecks:
    """Needs no token: who asks is a machine that decides about restarts and traffic."""

    def __init__(self, watched: Source) -> None:
        self._watched = watched

    def alive(self, request: HttpRequest) -> HttpReply:
        """200 as long as the event loop turns."""
        return HttpReply(200, b"ok\n", TEXT)

    def ready(self, request: HttpRequest) -> HttpReply:
        """200 if clients are let in; 503 with the reason otherwise. A database that is away is no reason: clients are
        told so, or served from the cache, only as long as they come here."""
        reason = self._watched.why_not_ready()
        return HttpReply(200, b"ready\n", TEXT) if reason is None else HttpReply(503, f"{reason}\n".encode(), TEXT)
