"""One request and the reply that the server owes for it."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from pgbeam_core.api._bookkeeping import SMALL_BYTES
from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.session.progress import MAY_FOLLOW, Progress
from pgbeam_core.session.state import CHECKED
from pgbeam_core.session.steps import NOTHING, Form, Owed

if TYPE_CHECKING:
    from pgbeam_core.api.query import Query


class OutOfTurn(ProtocolViolation):
    """The server sent what nobody asked for; its stream can no longer be trusted."""


class Owner(Protocol):
    """Whoever asked for a turn: a client's conversation, or PgBeam itself."""

    def deliver(self, data: bytes) -> None:
        """Bytes of the reply, in order; any number of times."""

    def copy_in(self, turn: Turn) -> None:
        """The server now wants CopyData."""

    def retry_on_error(self, turn: Turn, error: bytes) -> bool:
        """A shared turn of which the owner has no byte yet ends in this error: shall it be sent once more instead?"""

    def outgrew_limit(self, turn: Turn) -> None:
        """The reply to a shared turn is larger than what others should stand behind."""

    def reassign(self, turn: Turn) -> Owner | None:
        """What stands before a shared turn takes too long. Gives who takes the reply here, if it is sent elsewhere."""

    def reply_came(self, turn: Turn) -> None:
        """Some of the reply to a request that goes out in parts has come; called once for each chunk of it."""

    def server_skips(self, turn: Turn) -> None:
        """The server said ErrorResponse and skips to a Sync that has not gone out."""

    def turn_over(self, turn: Turn, ready: bytes) -> None:
        """The reply is complete but for its ReadyForQuery, the frame given. Exactly one of this and `turn_lost`."""

    def turn_lost(self, turn: Turn, reason: str) -> None:
        """The server is gone; the rest of the reply will not come."""

    def deliver_reply(self, turn: Turn, reply: bytes) -> None:
        """A plain statement went well: the reply, all of it. In place of `deliver` and `turn_over`."""


class Fate(enum.Enum):
    """What an error has made of a turn."""

    TOLD = "told"
    """Nothing: the client gets the reply, an error in it too."""
    STALE = "stale"
    """It said that what the server has prepared is out of date: `again` is to be called at ReadyForQuery."""
    RETRIED = "retried"
    """It was not the client's own: nobody has been told, and it is to be sent once more."""
    MUTED = "muted"
    """The client has been told of it, by PgBeam, or gets the reply elsewhere; the rest is not for it."""


_MUTED: Final = Fate.MUTED  # a look at a member of an enum takes longer than most lines here
_RETRIED: Final = Fate.RETRIED
_OPEN: Final = Progress.OPEN
_SPOILT: Final = Progress.SPOILT
_SKIPPING: Final = Progress.SKIPPING
_ENDED: Final = Progress.ENDED


class Turn:
    """What one server owes one owner, up to and including a ReadyForQuery.

    `script` lists the steps of an extended-protocol reply in which PgBeam has a part; None means that every byte up to
    ReadyForQuery is the owner's. `progress` tells how far the request is; `enter` is the only one that writes it.
    """

    __slots__ = (
        "again",
        "at",
        "at_flush",
        "began",
        "begins",
        "copying",
        "elsewhere",
        "error",
        "expected_ready",
        "fate",
        "finished",
        "form",
        "in_parts",
        "keep",
        "kept",
        "outside",
        "owner",
        "prefix",
        "progress",
        "queries",
        "refused",
        "renamed",
        "reported",
        "resets_name",
        "said",
        "script",
        "sent_at",
        "shared",
        "simple",
        "size",
        "syncs",
        "tags",
        "torn",
        "unexecuted",
        "withheld",
    )

    def __init__(self, owner: Owner, *, simple: bool, script: deque[Owed] | None = None, ended: bool = True) -> None:
        self.owner = owner
        self.simple = simple
        self.script = script
        self.progress = _ENDED if ended else _OPEN
        self.queries: list[Query] = []
        self.unexecuted: list[Query] = []  # as Plan's
        self.at = NOTHING
        """How far the reply to its Query or FunctionCall is."""
        self.sent_at = 0.0
        self.size = self.keep = 0
        self.began = False
        """Whether the owner has got a byte of the reply."""
        self.at_flush = False
        """It ends here for the server; the client has not come to its Sync, and gets no ReadyForQuery."""
        self.in_parts = False
        """It is a request that was not whole when it began to go out."""
        self.finished: list[bytes] | None = None
        """The command tags of its queries that are through, for all but the last Query; empty where there is none."""
        self.reported = 0
        """Queries that were through and have been reported; `queries` are those after them."""
        self.said: list[bytes] = []
        """What plugins had to say to these, for the end of the reply."""
        self.resets_name = False
        """It may set application_name back to what it was at startup."""
        self.torn = False
        """The server went away in the middle of a message of which the owner has a part."""
        self.copying = False
        """The server is in copy-in mode, or was and is now owed the end of it."""
        self.syncs = 0
        """Syncs that the client has sent among its CopyData: see `internal.stray_syncs`."""
        self.tags: list[bytes] = []
        """The command tags of the statements completed so far."""
        self.error: bytes | None = None
        """The last ErrorResponse."""
        self.refused: bytes | None = None
        """The error that says so."""
        self.again: Callable[[Turn], None] | None = None
        """Sends the request anew, if all that went wrong is that the server's plan of a statement was out of date."""
        self.shared = False
        """It stands behind other clients' turns, or they behind it."""
        self.begins = False
        """What makes its client's transaction real has gone out with it."""
        self.outside = self.elsewhere = False
        """It runs as if outside of its client's transaction, or on a replica: an error may send it into that, or on."""
        self.withheld: list[bytes] = []
        """The beginning of such a reply, as long as it may still end in an error that the client is not told of."""
        self.fate = Fate.TOLD
        self.renamed: tuple[bytes, bytes] | None = None
        """What PgBeam calls the only statement on the server and what the client calls it, for error messages."""
        self.form: Form | None = None
        """What the reply to one plain statement is if all goes well; None once it took the long way."""
        self.prefix = b""
        """What the client is told ahead of such a reply."""
        self.expected_ready = b""
        """The ReadyForQuery at the end of such a reply."""
        self.kept: list[bytes] | None = None

    @property
    def ended(self) -> bool:
        """Whether the message that makes the server say ReadyForQuery has gone out; else more may follow."""
        return self.progress is _ENDED

    @property
    def is_passed_over(self) -> bool:
        """Whether what the client sends up to its Sync has no effect, because of an error before it."""
        return self.progress is _SPOILT or self.progress is _SKIPPING

    @property
    def may_be_retried(self) -> bool:
        """Whether its owner may have it sent once more, as long as it has no byte of the reply."""
        return self.shared or self.outside or self.elsewhere

    def enter(self, progress: Progress) -> None:
        """The request is further, or thrown back."""
        if CHECKED:
            assert progress in MAY_FOLLOW[self.progress], f"a turn went from {self.progress} to {progress}"
        self.progress = progress

    @property
    def is_muted(self) -> bool:
        """Whether the rest of the reply is not for the client."""
        return self.fate is _MUTED or self.fate is _RETRIED

    def pass_to(self, owner: Owner) -> None:
        """Its client gets the reply elsewhere: whatever comes here, an error included, has no effect."""
        self.owner = owner
        self.script = self.again = self.form = None
        self.renamed = None
        self.shared = False
        self.fate = Fate.MUTED

    def deliver(self, data: bytes) -> None:
        """Hand bytes on to the owner, keeping a copy if that was asked for and it stays below the cap."""
        if self.is_muted:
            return
        self.size += len(data)
        if self.kept is not None:
            if self.size > self.keep:
                self.kept = None
            else:
                self.kept.append(data)
        if (
            (self.outside or self.elsewhere or self.at_flush)
            and self.ended
            and not self.began
            and self.size <= SMALL_BYTES
        ):
            self.withheld.append(data)
            return
        self.began = True
        if self.withheld:
            data = b"".join([*self.withheld, data])
            self.withheld.clear()
        self.owner.deliver(data)

    def release_withheld(self) -> None:
        """The reply is complete, or will not be: its owner gets what was withheld of it."""
        if self.withheld and not self.is_muted:
            self.began = True
            self.owner.deliver(b"".join(self.withheld))
        self.withheld.clear()

    def keep_up_to(self, max_bytes: int) -> None:
        """Keep a copy of the reply, dropped when it grows past that many bytes."""
        self.keep = max_bytes
        self.kept = []

    def end_in(self, error: bytes) -> None:
        """The client gets this error and nothing behind it."""
        self.error = error
        self.kept = None
        self.deliver(error)
        self.fate = Fate.MUTED

    def add(self, steps: Any) -> None:
        """More of the request went out: these steps are owed too. Nothing is owed for what the server skips."""
        if self.script is None:
            raise AssertionError("an unscripted turn takes no steps")
        if self.progress is not _SKIPPING:
            self.script.extend(steps)

    def inject_due(self) -> None:
        """Say what is PgBeam's to say before the server's next frame."""
        script = self.script
        while script and script[0].inject is not None:
            step = script.popleft()
            if step.inject:
                self.deliver(step.inject)
            if step.effect is not None:
                step.effect(True)
