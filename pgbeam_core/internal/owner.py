"""Who owns the turns that PgBeam takes for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.wire import backend
from pgbeam_core.wire.frames import split

if TYPE_CHECKING:
    from pgbeam_core.session.turns import Owner, Turn

Row = tuple[str | None, ...]
_DATA_ROW = ord("D")


class InternalOwner:
    """An owner without a client, for requests of PgBeam's own: they are whole, copy nothing, and nobody reads along."""

    def deliver(self, data: bytes) -> None:
        """Dropped: who wants the rows is a RowCollector."""

    def copy_in(self, turn: Turn) -> None:
        """Never: PgBeam's own requests copy nothing."""

    def reply_came(self, turn: Turn) -> None:
        """Never: its requests are whole."""

    def server_skips(self, turn: Turn) -> None:
        """Never: its requests are whole."""

    def outgrew_limit(self, turn: Turn) -> None:
        """Never: its turns are not shared."""

    def reassign(self, turn: Turn) -> Owner | None:
        return None

    def retry_on_error(self, turn: Turn, error: bytes) -> bool:
        return False

    def deliver_reply(self, turn: Turn, reply: bytes) -> None:
        """Never: its requests are not taken for a client's plain statements."""


class RowCollector(InternalOwner):
    """Keeps the rows of the reply, of which no more than `most_bytes` are held in memory."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._data: list[bytes] = []
        self._size = 0

    def deliver(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._most_bytes:
            self._data.append(data)
        else:
            self._data.clear()

    @property
    def is_too_large(self) -> bool:
        """Whether the reply is longer, and has been let go."""
        return self._size > self._most_bytes

    def rows(self, errors: str = "replace") -> list[Row]:
        """What has come so far; `errors` says what becomes of bytes that are no UTF-8, as for bytes.decode."""
        data = b"".join(self._data)
        return [_row(data[start:end], errors) for tag, start, end in split(data) if tag == _DATA_ROW]


def _row(frame: bytes, errors: str) -> Row:
    values = backend.DataRow.from_bytes(frame).values
    return tuple(None if value is None else value.decode("utf-8", errors) for value in values)
