"""When a server is read: not while its client does not keep up, nor while more has come than is paid out at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.net.cancel import Cancelling
from pgbeam_core.session.replies import ReplyQueue

if TYPE_CHECKING:
    from pgbeam_core.net.server import ServerProtocol


class ServerFlow:
    """Of one server. later: calls in the next iteration of the loop, when others have had their turn."""

    def __init__(
        self,
        server: ServerProtocol,
        replies: ReplyQueue,
        cancelling: Cancelling,
        later: Callable[[Callable[[], None]], Any],
    ) -> None:
        self.pending_end: tuple[str, bool] | None = None
        """It is gone, and what it had said before has not been paid out: why, and whether that was expected."""
        self._server = server
        self._replies = replies
        self._cancelling = cancelling
        self._later = later
        self._catching_up: Any = None
        """The call that pays out more of what has come; PostgreSQL is not read meanwhile."""
        self._paused = False
        """The client does not keep up."""

    def fall_behind(self) -> None:
        """So much has come at once that others have their turn before the rest."""
        if self._catching_up is None:
            self._catching_up = self._later(self._catch_up)
            if self.pending_end is None:
                self._server.transport.pauseProducing()

    def pause(self) -> None:
        """The client does not keep up."""
        self._paused = True
        self._server.transport.pauseProducing()

    def resume(self) -> None:
        """The client keeps up again."""
        self._paused = False
        if self._catching_up is None:
            self._server.transport.resumeProducing()

    def stop(self) -> None:
        """Nothing more is paid out."""
        self.pending_end = None
        if self._catching_up is not None:
            self._catching_up.cancel()
            self._catching_up = None

    def _catch_up(self) -> None:
        self._catching_up = None
        server = self._server
        try:
            self._replies.go_on()
        except ProtocolViolation as error:
            server.quarantine(error.message)
            return
        if self._cancelling.wanted is not None:
            self._cancelling.go_on()
        if self._replies.behind:
            self.fall_behind()
        elif self.pending_end is not None:
            server.end(*self.pending_end)
        elif server.alive and not self._paused:
            server.transport.resumeProducing()
