"""What a client is told: answers and refusals of plugins, notices, and how an execution ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True, frozen=True)
class Answer:
    """A complete reply to one query, as whole frames of the wire protocol.

    description: the RowDescription frame; None when the reply it was kept from had none (a Bind and Execute alone).
    rows: the DataRow frames one after another. complete: the CommandComplete frame, or PortalSuspended if it was kept
    from a query that asked for so many rows and no more (`Query.max_rows`).
    """

    description: bytes | None
    rows: bytes
    complete: bytes

    @property
    def size(self) -> int:
        """Bytes of description, rows and command completion: what it takes in memory, and on its way."""
        return len(self.description or b"") + len(self.rows) + len(self.complete)


@dataclass(slots=True, frozen=True)
class Refusal:
    """An error instead of a reply. At connect time it is sent as FATAL and ends the connection, later as ERROR."""

    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None


class Explanation(NamedTuple):
    """One row of what would be done with an execution: what it is about, what that would be, and why."""

    what: str
    value: str | None
    why: str | None = None


@dataclass(slots=True, frozen=True)
class Notice:
    """A NOTICE for the client, sent before its ReadyForQuery."""

    message: str
    severity: str = "NOTICE"
    sqlstate: str = "00000"


class Result(NamedTuple):
    """How one execution ended. Exactly one for each execution, however it was answered."""

    source: str
    """`server`, or the name of the plugin that answered or refused."""
    tag: str = ""
    """The command tag, e.g. `SELECT 3`; empty after an error."""
    rows: int = 0
    error: tuple[str, str] | None = None
    """(SQLSTATE, message) of the error that ended it."""
    duration: float = 0.0
    """Seconds from the request's arrival to its last byte, waiting included."""
    server_time: float = 0.0
    """Seconds from its leaving for the server to the end of the reply; 0 when no server was asked."""
    size: int = 0
    """Bytes of the reply; of several in one request the last has those of all."""
    kept: Answer | None = None
    """The reply, if a plugin asked with `keep_result`, it stayed below the cap, and it held nothing but one result."""
    committed: bool = True
    """False when its transaction is still open: `Session.transaction_over` tells how that ends."""
