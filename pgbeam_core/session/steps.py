"""The steps of a reply: what a server owes for each message of a request, and what PgBeam says itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pgbeam_core.wire import backend


class Owed:
    """One step of a scripted reply.

    ends: the tags that complete it. within: the tags that may come before that. forward: whether the client sees it.
    inject: bytes that PgBeam says itself in this place; then nothing is owed by the server. effect: called with
    True when it completes, with False when it ends in an error, not at all when it is skipped. sees: called with the
    frame that completes it; an ErrorResponse that it gives is all that the client gets of the rest.
    instead_of_error: what the client sees in place of the server's error. starts: it is an execution of its own.
    named: what a statement is called on the server, and by the client, where these differ: for error messages.
    """

    __slots__ = ("effect", "ends", "forward", "inject", "instead_of_error", "renamed", "sees", "starts", "within")

    def __init__(
        self,
        ends: bytes,
        within: bytes = b"",
        *,
        forward: bool = True,
        inject: bytes | None = None,
        effect: Callable[[bool], None] | None = None,
        sees: Callable[[bytes], bytes | None] | None = None,
        instead_of_error: bytes | None = None,
        starts: bool = False,
        renamed: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.ends = ends
        self.within = within
        self.forward = forward
        self.inject = inject
        self.effect = effect
        self.sees = sees
        self.instead_of_error = instead_of_error
        self.starts = starts
        self.renamed = renamed


def say(data: bytes, effect: Callable[[bool], None] | None = None) -> Owed:
    """A step that PgBeam answers itself, once all before it went well."""
    return Owed(b"", inject=data, effect=effect)


class Form(NamedTuple):
    """How the reply to one plain statement begins if all goes well. Rows follow, CommandComplete and ReadyForQuery."""

    bound: bool
    """With BindComplete."""
    described: bool
    """Then with RowDescription, or NoData."""
    silent: bool
    """Without a description where there are no rows: the simple protocol has no NoData."""


SIMPLE = Form(bound=False, described=True, silent=True)
DESCRIBED = Form(bound=True, described=True, silent=False)
BOUND = Form(bound=True, described=False, silent=False)

NO_PARAMETERS = backend.ParameterDescription(()).to_bytes()
BIND = Owed(b"2")
DESCRIBE = Owed(b"Tn", b"t")
EXECUTE = Owed(b"CIs", b"DdHGWc", starts=True)
GO_ON = Owed(b"CIs", b"DdHGWc")
"""An Execute of a portal that was executed before, or of one that only the server knows."""
CLOSE_UNSEEN = Owed(b"3", forward=False)
TO_THE_END = Owed(b"", b"TIVHcCDdGW")
"""A Query or FunctionCall behind messages of the extended protocol: everything up to ReadyForQuery."""

NOTHING, BETWEEN, ROWS, OUT, OUT_ENDED, IN, FAILED, FREE = range(8)
"""How far the reply to a Query or FunctionCall is: nothing has come, statements are complete, rows come or COPY data,
COPY data have ended, are wanted, there was an error. FREE: its form is not known, as in replication."""
_BEGINS = {
    b"T": ROWS,
    b"D": ROWS,
    b"C": BETWEEN,
    b"I": BETWEEN,
    b"V": BETWEEN,
    b"H": OUT,
    b"G": IN,
    b"W": FREE,
    b"E": FAILED,
}
_COMES = {
    NOTHING: _BEGINS,
    BETWEEN: _BEGINS,
    ROWS: {b"D": ROWS, b"C": BETWEEN, b"E": FAILED},
    OUT: {b"d": OUT, b"c": OUT_ENDED, b"E": FAILED},
    OUT_ENDED: {b"C": BETWEEN, b"E": FAILED},
    IN: {b"C": BETWEEN, b"E": FAILED},
    FAILED: {b"E": FAILED},
    FREE: dict.fromkeys((bytes((tag,)) for tag in b"TtnI123sVHcCDdGWE"), FREE),
}
NEXT_PLACE: dict[int, int] = {place << 8 | tag[0]: then for place, tags in _COMES.items() for tag, then in tags.items()}
"""place << 8 | tag → where the reply is then; what is not in it cannot come there."""
COMPLETE = frozenset((BETWEEN, FAILED, FREE))
"""Where ReadyForQuery may come."""


_LONGEST_TO_CHANGE = 1024 * 1024
"""An error of more bytes is not about the name of a statement."""


def in_clients_words(error: bytes, renamed: tuple[bytes, bytes]) -> bytes:
    """An ErrorResponse with the name of a statement that the client knows in place of that on the server."""
    ours, theirs = renamed
    if len(error) > _LONGEST_TO_CHANGE:
        return error
    error = error.replace(b'"' + ours + b'"', b'"' + theirs + b'"')
    return error[:1] + (len(error) - 1).to_bytes(4) + error[5:]
