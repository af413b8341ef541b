"""What a server says without being asked: parameters that changed, notices, notifications, its goodbye.

The conversation that holds the server hears of it, and nobody else. Where nobody holds it, it is counted, for a server
that talks on and on is one to be rid of.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.net.server import ServerProtocol
    from pgbeam_core.session.turns import Turn

log = Logger(__name__)

PARAMETERS = 1_000
PARAMETER_BYTES = 1 << 20
"""Names and values that a server reports: PostgreSQL reports fifteen, short ones but for search_path."""
UNHEARD_BYTES = 1 << 20
"""What it may say in its life while nobody listens, such as parameters that were reloaded."""
LOGGED = 500
"""Characters of a server's words that are worth a line in the log."""

_ERROR, _NOTICE = b"EN"


class AsynchronousMessages:
    """Of one server: see `session.asynchronous.Asynchronous`. `parameters` are kept as it reports them."""

    def __init__(self, server: ServerProtocol, parameters: dict[str, str]) -> None:
        self.holder: Any = None
        """The conversation that has the exclusive lease."""
        self.turns: deque[Turn] = deque()
        """What the server owes, oldest first; the reply queue's own."""
        self._server = server
        self._parameters = parameters
        self._size = 0
        self._unheard = 0
        self._untold: set[str] = set()
        """Parameters that changed in turns of PgBeam's own."""

    def parameter_status(self, frame: bytes) -> bytes | None:
        """A parameter changed; only the conversation that holds the server may hear of it, in its own turn."""
        message = backend.ParameterStatus.from_bytes(frame)
        self._remember(message.name, message.value)
        if self.holder is None:
            return None
        if self.turns and self.turns[0].owner is not self.holder:
            self._untold.add(message.name)
            return None
        told: bytes | None = self.holder.parameter_status(message)
        return told

    def notified(self, frame: bytes) -> bool:
        """Who listens hears of it also while the server does something of PgBeam's own for its sake."""
        holder = self.holder
        if holder is None or self.turns[0].owner is holder:
            return False
        holder.unasked(frame)
        return True

    def turn_is_over(self) -> None:
        """What a request of PgBeam's own came to, not what it went through on the way."""
        if not self._untold:
            return
        names, self._untold = self._untold, set()
        for name in sorted(names):
            frame = None
            if self.holder is not None:
                frame = self.holder.parameter_status(backend.ParameterStatus(name, self._parameters[name]))
            if frame is not None:
                self.holder.unasked(frame)

    def unasked(self, tag: int, frame: bytes) -> None:
        """A frame outside any turn."""
        if self.holder is None:
            self._unheard += len(frame)
            if self._unheard > UNHEARD_BYTES:
                raise ProtocolViolation("it says too much that nobody has asked for")
        if tag == _ERROR:
            fields = backend.error_fields(frame)
            self._server.said_goodbye(f"{fields.get('C', '')} {fields.get('M', '')[:LOGGED]}")
        if self.holder is not None:
            self.holder.unasked(frame)
        elif tag == _NOTICE or tag == _ERROR:
            said = backend.error_fields(frame).get("M", "")[:LOGGED]
            log.info("server {server!r} says {fields}", server=self._server, fields=said)

    def _remember(self, name: str, value: str) -> None:
        before = self._parameters.get(name)
        self._size += len(value) - len(before) if before is not None else len(name) + len(value)
        self._parameters[name] = value
        if self._size > PARAMETER_BYTES or len(self._parameters) > PARAMETERS:
            raise ProtocolViolation("it reports too many parameters")
