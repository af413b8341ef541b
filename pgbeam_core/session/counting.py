"""Counts turns that have ended, and the transactions that have ended with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.session.turns import Turn
from pgbeam_core.wire.backend import READY_IDLE

if TYPE_CHECKING:
    from pgbeam_core.api.results import Result
    from pgbeam_core.session.transaction import Transaction
    from pgbeam_core.telemetry.stats import ProjectStats

_PARSE, _BIND = b"PB"


def messages(stats: ProjectStats, frames: list[bytes]) -> None:
    """A client has sent these messages of the extended protocol."""
    for message in frames:
        tag = message[0]
        if tag == _BIND:
            stats.binds += 1
        elif tag == _PARSE:
            stats.client_parses += 1


def executions(stats: ProjectStats, results: list[Result]) -> None:
    """These have ended; those of a batch that have ended alike have one Result, again and again."""
    last: Result | None = None
    times = 0
    for result in results:
        if result is not last:
            if last is not None:
                stats.executed(last, times)
            last, times = result, 0
        times += 1
    if last is not None:
        stats.executed(last, times)


def fast_turn_over(stats: ProjectStats, turn: Turn, now: float) -> None:
    """A plain statement went well."""
    took = now - turn.sent_at
    stats.query_time += took
    if turn.expected_ready == READY_IDLE:
        stats.transaction_time += took
        if not turn.outside:
            stats.transactions += 1


def turn_over(stats: ProjectStats, transaction: Transaction, turn: Turn, was: bytes, status: bytes, now: float) -> None:
    """Any other turn; was, status: the server's, before and after."""
    stats.query_time += now - turn.sent_at
    if was == b"I" or turn.begins:
        transaction.since = turn.sent_at
        if not (turn.begins or transaction.kept_back):
            transaction.began_at, transaction.why = turn.sent_at, ""
    if status == b"I":
        stats.transaction_time += now - transaction.since
        if (turn.queries or turn.reported or was != b"I") and not transaction.kept_back:
            stats.transactions += 1
