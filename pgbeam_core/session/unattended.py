"""Who owns the turns that PgBeam takes for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgbeam_core.session.turns import Owner, Turn


class Unattended:
    """An owner without a client, for requests of PgBeam's own: they are whole, copy nothing, and nobody reads along."""

    def deliver(self, data: bytes) -> None:
        """Bytes of the reply."""

    def copy_in(self, turn: Turn) -> None:
        """Never asked for."""

    def paid(self, turn: Turn) -> None:
        """Never: its requests are whole."""

    def skips(self, turn: Turn) -> None:
        """Never: its requests are whole."""

    def grows(self, turn: Turn) -> None:
        """Never: its turns are not shared."""

    def moves_on(self, turn: Turn) -> Owner | None:
        """Never likewise."""
        return None

    def takes_back(self, turn: Turn, error: bytes) -> bool:
        """Never likewise."""
        return False

    def whole(self, turn: Turn, reply: bytes) -> None:
        """Never: its requests are not taken for a client's plain statements."""
