"""What a conversation stands between: its client, and what all conversations share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pgbeam_core.api.pool import Pool
from pgbeam_core.api.query import Target
from pgbeam_core.api.statement import Statement
from pgbeam_core.firing import Hooks

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from pgbeam_core.catalog.catalog import Catalog
    from pgbeam_core.session.large_messages import LargeMessages
    from pgbeam_core.session.session import Session
    from pgbeam_core.settings import Settings
    from pgbeam_core.telemetry.stats import ProjectStats


class ClientConnection(Protocol):
    """The client's connection, as its conversation sees it."""

    def write(self, data: bytes) -> None:
        """Queue these for the client; `client_full` is called when it does not keep up."""

    def pause(self) -> None:
        """Stop reading from the client: what it sends stays with the kernel."""

    def resume(self) -> None:
        """Read from the client again, after `pause`."""

    def hang_up(self, reason: str, farewell: bytes = b"") -> None:
        """Send the farewell and close."""


class Nobody:
    """In the place of a client that has left: whatever it is told to do has no effect."""

    def write(self, data: bytes) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def hang_up(self, reason: str, farewell: bytes = b"") -> None:
        pass


class RequestDeadlines(Protocol):
    """Calls back whoever is not done in time."""

    def begin(self, too_late: Callable[[], None]) -> None:
        """From now on; `too_late` is called unless `met` comes first."""

    def met(self, too_late: Callable[[], None]) -> None:
        """In time, or given up."""


class Runtime(Protocol):
    """What all conversations of a PgBeam share."""

    hooks: Hooks
    settings: Settings
    large_messages: LargeMessages
    """The large messages of all clients that are not all there."""
    now: Callable[[], float]
    """Monotonic seconds."""

    @property
    def function_call(self) -> Statement:
        """What stands for a FunctionCall message."""

    @property
    def unfinished(self) -> RequestDeadlines:
        """For requests that clients have begun and not ended."""

    @property
    def epoch(self) -> int:
        """Counts the statements that changed definitions, or may have, and the minutes."""

    def statement(self, text: bytes) -> Statement:
        """The statement of an SQL text, `parse` fired."""

    def unread(self, text: bytes) -> Statement:
        """The statement of a text that the grammar would misread, `parse` fired."""

    def refused_by(self, statement: Statement) -> str | None:
        """The plugin that has failed in `template` or `parse`, and keeps a statement from being executed."""

    def pool(self, target: Target) -> Pool:
        """The pool of a target."""

    def default_isolation(self, session: Session) -> str | None:
        """The isolation level, in lower case, of a transaction that names none; None if it is not known."""

    def stats(self, session: Session) -> ProjectStats:
        """The counters of the session's project."""

    def catalog(self, session: Session) -> Catalog | None:
        """What is known of the catalog of a session's database; None while it is not known."""

    def catalog_soon(self, session: Session, seconds: float) -> Deferred[Any] | None:
        """Fires when the catalog is known, or that time is over; None if nothing is to be waited for."""

    def tables_changed(self, statement: Statement) -> None:
        """A statement that defines tables, or may have, was completed."""

    def later(self, call: Callable[[], None]) -> Any:
        """Call it in the next iteration of the loop, when others have had their turn. What it gives has `cancel`."""

    def outdated(self) -> None:
        """Tables were changed past PgBeam: what servers have prepared is parsed anew when a client parses it."""

    def leave(self, session: Session, database: str) -> None:
        """PostgreSQL wants nobody in that database: close the idle servers there."""
