"""How far the request of a turn is: whether its client may send more of it, and who passes over what it sends.

A request ends with the message that makes the server say ReadyForQuery: Query, FunctionCall or Sync. Before that an
error may come between. PostgreSQL then skips to the Sync, and PgBeam, which knows that, need not send what is skipped:

    OPEN      messages up to a Flush, or a part of a long request, have gone out. More of it may follow.
    SPOILT    an error of PgBeam's own is under way to the server. What the client sends up to its Sync is passed over.
    SKIPPING  the server has said ErrorResponse and skips to the Sync. It owes nothing but ReadyForQuery.
    ENDED     the message that makes it say ReadyForQuery has gone out.

    OPEN ──▶ SPOILT ──▶ SKIPPING ──▶ ENDED        OPEN ──▶ SKIPPING        OPEN, SPOILT ──▶ ENDED

Two ways lead out of ENDED. A server that goes into copy-in mode has swallowed the Sync that stood behind its Execute:
the request is OPEN, and the client will send another one. And where a Query stands behind messages of the extended
protocol, and one of these fails, the server skips the Query as well: it is SKIPPING, and waits for a Sync.
"""

from __future__ import annotations

import enum


class Progress(enum.Enum):
    """Where a turn's request is: see above."""

    OPEN = "open"
    SPOILT = "spoilt"
    SKIPPING = "skipping"
    ENDED = "ended"


MAY_FOLLOW: dict[Progress, frozenset[Progress]] = {
    Progress.OPEN: frozenset({Progress.OPEN, Progress.SPOILT, Progress.SKIPPING, Progress.ENDED}),
    Progress.SPOILT: frozenset({Progress.SKIPPING, Progress.ENDED}),
    Progress.SKIPPING: frozenset({Progress.SKIPPING, Progress.ENDED}),
    Progress.ENDED: frozenset({Progress.OPEN, Progress.SKIPPING, Progress.ENDED}),
}
"""What may come after what. SKIPPING after SKIPPING: the server says goodbye; ENDED after ENDED: it is sent anew."""
