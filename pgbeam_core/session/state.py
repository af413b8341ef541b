"""Where a conversation is: its phase, which phases may follow which, and who decides that.

Theory of operation
-------------------
A conversation does one request at a time. Its client's messages wait in the inbox until the phase lets one be taken;
what it owes its client, and what a server owes it, is told by the phase together with the turn:

    IDLE      nothing is owed. The next message is taken. There is no turn; a lease is held only inside of a real
              transaction, by a pin, in session mode, or until an inspection is answered.
    ASKING    a plugin thinks about a query, or the catalog is waited for. Nothing was sent; `pending` is what fires.
    WAITING   a server is being found, or is given the session's settings. Nothing was sent; `pending` as above.
    BUSY      a request is with a server, all of it: the turn says what is owed. Messages wait.
    OPEN      a request is with a server, and the client has not ended it: a Flush, or a part of a long pipeline.
              Messages are taken, and go into the same turn.
    COPYING   the server wants CopyData: messages are passed on without being understood.
    GONE      the client has left. What a server still owes is taken in and thrown away; nothing leads out of it.

    IDLE ──▶ ASKING ──▶ IDLE ──▶ WAITING ──▶ IDLE ──▶ BUSY ──▶ IDLE
                                                ╲──▶ OPEN ⇄ BUSY ⇄ COPYING

Waits end in IDLE (or OPEN, if the request is under way already) before what waited is done, so every step begins in a
phase that could have been reached without a wait. `Conversation.resumed` is the one way out of a wait.

Who decides: `HookDispatch` and `Outside` begin ASKING, `ServerFinder` begins WAITING, `Sender` sends and so makes a
conversation BUSY or OPEN, `TurnCompletion` and `Failing` bring it back to IDLE, `Copying` follows COPY, and the
conversation itself its waits and its client's leaving. All of them go through `State.enter`.
"""

from __future__ import annotations

import enum
import os
from typing import Final

CHECK_STATES = "CHECK_PGBEAM_STATES"
"""The environment variable with which each step is checked against the table; all tests run with it."""
CHECKED: Final = __debug__ and CHECK_STATES in os.environ


class Phase(enum.Enum):
    """Where a conversation is: see above."""

    IDLE = "idle"
    ASKING = "asking"
    WAITING = "waiting"
    BUSY = "busy"
    OPEN = "open"
    COPYING = "copying"
    GONE = "gone"


FOLLOWS: dict[Phase, frozenset[Phase]] = {
    Phase.IDLE: frozenset({Phase.ASKING, Phase.WAITING, Phase.BUSY, Phase.OPEN, Phase.GONE}),
    Phase.ASKING: frozenset({Phase.IDLE, Phase.GONE}),
    Phase.WAITING: frozenset({Phase.IDLE, Phase.OPEN, Phase.GONE}),
    Phase.BUSY: frozenset({Phase.IDLE, Phase.BUSY, Phase.OPEN, Phase.COPYING, Phase.GONE}),
    Phase.OPEN: frozenset({Phase.BUSY, Phase.OPEN, Phase.COPYING, Phase.GONE}),
    Phase.COPYING: frozenset({Phase.IDLE, Phase.BUSY, Phase.OPEN, Phase.GONE}),
    Phase.GONE: frozenset(),
}
"""What may come after what. BUSY after BUSY: a request that is sent once more; OPEN after OPEN: its next part."""


class State:
    """The phase of one conversation. `enter` is the only one that writes it."""

    __slots__ = ("phase",)

    def __init__(self) -> None:
        self.phase = Phase.IDLE

    def enter(self, phase: Phase) -> None:
        """Go on to another phase."""
        if CHECKED:
            assert phase in FOLLOWS[self.phase], f"a conversation went from {self.phase.value} to {phase.value}"
        self.phase = phase
