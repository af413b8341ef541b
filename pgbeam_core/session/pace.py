"""How much one client gets done before others have their turn.

What a client has sent is acted on in slices, with an iteration of the loop between them; a long request of the extended
protocol goes to its server in parts. Neither the time that the loop is held nor what is remembered of a request grows
with what a client sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgbeam_core.session.runtime import Runtime
    from pgbeam_core.session.turns import Turn

PART = 256
"""Messages of a request that are acted on at once: about a millisecond, several with slow plugins."""
PART_BYTES = 1024 * 1024
"""Their bytes, likewise."""
SLICE_S = 0.004
"""Seconds after which others have their turn: with one more part, less than the 10 ms that nobody may hold the loop."""
SLICE = 1024
"""Messages after which they have it in any case."""
MOST_OWED = 4096
"""Steps of one reply that a server may owe before more of the request is sent: what PgBeam remembers of a request, and
what it has to tell plugins when the server is lost."""


class Pace:
    """Decides when one conversation takes its client's next message."""

    __slots__ = ("_begun", "_call", "_flush", "_resume", "_runtime", "ahead", "messages", "most_owed", "part", "slice")

    def __init__(self, runtime: Runtime, resume: Callable[[], None], flush: Callable[[], None]) -> None:
        """`resume` goes on with what the client has sent; `flush` has the server say what it has to say so far."""
        self._runtime = runtime
        self._resume = resume
        self._flush = flush
        self._begun = 0.0
        self.messages = 0
        """Messages of this slice."""
        self._call: Any = None
        self.part = PART
        self.most_owed = MOST_OWED
        self.slice = SLICE
        self.ahead = False
        """So much is owed for the request under way that no more of it is sent now."""

    @property
    def waits(self) -> bool:
        """Whether the client's next message has to wait, for others or for the server."""
        return self.ahead or self._call is not None

    @property
    def begun(self) -> float:
        """When the last slice began."""
        return self._begun

    def begin_slice(self) -> None:
        self.messages = 0
        self._begun = self._runtime.now()

    def slice_is_over(self, *, acted: bool) -> bool:
        """Whether the slice is over, before one more message is taken; then it goes on by itself.

        acted: the last message was not merely put by.
        """
        messages = self.messages = self.messages + 1
        if messages <= self.slice:
            if messages & 15 and not acted:
                return False
            if self._runtime.now() - self._begun < SLICE_S:
                return False
        self._call = self._runtime.later(self._go_on)
        return True

    def _go_on(self) -> None:
        self._call = None
        self._resume()

    def too_far(self, turn: Turn) -> bool:
        """Whether the server owes too much for the request under way to be sent more of it."""
        if not self.ahead and turn.script is not None and len(turn.script) > self.most_owed:
            self._flush()  # nobody may say anything before he is asked to
            self.ahead = len(turn.script) > self.most_owed // 2
        return self.ahead

    def reply_came(self, turn: Turn) -> None:
        """The server has paid some of it."""
        if self.ahead and (turn.script is None or len(turn.script) <= self.most_owed // 2):
            self.ahead = False
            self._resume()

    def stop(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
