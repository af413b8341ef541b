"""Tells the plugins how executions ended, and turns what they have to say into notices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Answer, Notice, Refusal, Result
from pgbeam_core.api.statement import Kind
from pgbeam_core.firing import Hooks
from pgbeam_core.session.turns import Turn
from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import split

_ROWS_AT_END = (b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"FETCH", b"MOVE", b"COPY")


def rows_of(tag: bytes) -> int:
    """The count at the end of a command tag, 0 where it has none."""
    last = tag.rpartition(b" ")[2]
    return int(last) if last.isdigit() else 0


_MOST_TAGS = 1000
_tags: dict[bytes, tuple[str, int]] = {}
"""What command tags say, for those seen of late: clients get the same ones again and again."""


def read_tag(tag: bytes) -> tuple[str, int]:
    """A command tag as text, and the count at its end."""
    known = _tags.get(tag)
    if known is None:
        if len(_tags) >= _MOST_TAGS:
            _tags.clear()
        known = _tags[tag] = tag.decode("utf-8", "replace"), rows_of(tag)
    return known


def error_of(frame: bytes) -> tuple[str, str]:
    """(SQLSTATE, message) of an ErrorResponse."""
    fields = backend.error_fields(frame)
    return fields.get("C", "XX000"), fields.get("M", "")


def ends_the_session(error: bytes) -> bool:
    """Whether the error is the client's doing and the end of its session, not the going of one server."""
    fields = backend.error_fields(error)
    return fields.get("V", fields.get("S")) == "FATAL" and not fields.get("C", "").startswith("57P")


def kept_answer(turn: Turn) -> Answer | None:
    """The kept bytes of a reply as an Answer, if they hold one result and nothing that would not be true again.

    Rows are not walked: what may stand between them is dropped by the reply queue as it comes.
    """
    kept, tags = turn.kept, turn.tags
    if kept is None:
        return None
    if len(tags) == 1 and tags[0].startswith(b"SELECT "):
        complete = b"C" + (len(tags[0]) + 5).to_bytes(4) + tags[0] + b"\0"
    elif not tags and turn.queries[0].max_rows and turn.queries[0].statement.kind is Kind.SELECT:
        complete = backend.PORTAL_SUSPENDED
    else:
        return None
    data = b"".join(kept)
    if not data.endswith(complete):
        return None
    description: bytes | None = None
    for tag, start, end in split(data):
        if tag == 0x54 and description is None:  # RowDescription
            description = data[start:end]
        elif tag == 0x44 or tag == 0x43:  # DataRow, CommandComplete
            return Answer(description, data[start : len(data) - len(complete)], complete)
        elif tag not in (0x31, 0x32, 0x74):  # ParseComplete, BindComplete, ParameterDescription
            return None
    return None


def cut(answer: Answer, max_rows: int) -> Answer:
    """What an Execute with that limit, above 0, gets of it: PostgreSQL stops there, were they the last rows or not."""
    rows, complete = answer.rows, answer.complete
    if complete == backend.PORTAL_SUSPENDED or rows_of(complete[5:-1]) < max_rows:
        return answer
    for place, (_, _, end) in enumerate(split(rows), 1):
        if place == max_rows:
            return Answer(answer.description, rows[:end], backend.PORTAL_SUSPENDED)
    return answer


def left_open(turn: Turn) -> bool:
    """Whether plugins are told of executions before it is known whether they are committed, or that they are not."""
    return bool(turn.reported or (turn.error is not None and turn.finished))


def server_results(turn: Turn, now: float, status: bytes) -> list[Result]:
    """One Result for each execution of a turn that the server has answered."""
    error = error_of(turn.error) if turn.error is not None else None
    kept = kept_answer(turn) if error is None else None
    results = []
    alone = len(turn.queries) == 1 and not turn.reported
    finished = turn.finished or []
    committed = status == b"I" and not left_open(turn)
    for place, query in enumerate(turn.queries):
        if place < len(finished):
            failed, tag = None, finished[place]
        else:
            failed = error
            tag = turn.tags[-1] if error is None and turn.tags and (alone or query.simple) else b""
        # The bytes of the reply count once, whichever of them were whose.
        size = turn.size if place == len(turn.queries) - 1 else 0
        results.append(_server_result(turn, query, tag, now, failed, size, kept, committed=committed))
    return results


def finished_results(turn: Turn, now: float) -> list[Result]:
    """One Result for each execution of a turn that is through, though the turn is not."""
    results: list[Result] = []
    arrived, told = 0.0, b""
    for query, tag in zip(turn.queries, turn.finished or [], strict=False):
        if results and tag == told and query.arrived == arrived:  # of a batch, mostly
            results.append(results[-1])
        else:
            arrived, told = query.arrived, tag
            results.append(_server_result(turn, query, tag, now, None, 0, None, committed=False))
    return results


def _server_result(
    turn: Turn,
    query: Query,
    tag: bytes,
    now: float,
    failed: tuple[str, str] | None,
    size: int,
    kept: Answer | None,
    *,
    committed: bool,
) -> Result:
    text, rows = read_tag(tag)
    return Result(
        "server",
        text,
        rows,
        failed,
        now - query.arrived,
        now - turn.sent_at,
        size,
        kept,
        committed,
    )


def plain_result(turn: Turn, now: float) -> Result:
    """The Result of a plain statement that went well."""
    tag, query = turn.tags[-1], turn.queries[0]
    text, rows = read_tag(tag)
    return Result(
        "server",
        text,
        rows,
        None,
        now - query.arrived,
        now - turn.sent_at,
        turn.size,
        kept_answer(turn),
        turn.expected_ready == backend.READY_IDLE and not turn.outside,
    )


def simple_reply(answer: Answer) -> bytes:
    """The reply that it is by the simple protocol, but for ReadyForQuery."""
    return (answer.description or b"") + answer.rows + answer.complete


def answered(query: Query, source: str, answer: Answer, now: float) -> Result:
    """The Result of an execution that a plugin answered."""
    # PortalSuspended has none; compiled, a slice that ends before it begins is no empty one.
    tag = b"" if answer.complete == backend.PORTAL_SUSPENDED else answer.complete[5:-1]
    duration, rows = now - query.arrived, rows_of(tag)
    return Result(source, tag.decode(), rows, duration=duration, size=answer.size, committed=not query.in_transaction)


def refused(query: Query, source: str, refusal: Refusal, now: float) -> Result:
    """The Result of an execution that was refused, or that no server could be found for."""
    return Result(source=source, error=(refusal.sqlstate, refusal.message), duration=now - query.arrived)


def refusal_frame(refusal: Refusal, severity: str = "ERROR") -> bytes:
    """The ErrorResponse that says it."""
    return backend.error_response(severity, refusal.sqlstate, refusal.message, refusal.detail, refusal.hint)


def notices(said: Sequence[tuple[str, Any]], hooks: Hooks) -> bytes:
    """What the plugins want to add to a reply, as frames; what is no Notice costs only the plugin that gave it."""
    frames = []
    for plugin, some in said:
        for one in some if isinstance(some, list | tuple) else (some,):
            if isinstance(one, Notice):
                frames.append(backend.notice_response(one.severity, one.sqlstate, one.message))
            else:
                hooks.unfit("result", plugin, one, "a Notice, several in a list or a tuple, or None")
    return b"".join(frames)
