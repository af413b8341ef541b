"""The Bind messages of a batch: one portal, bound again and again, and what is the same for all of them."""

from __future__ import annotations

from pgbeam_core.session import extended
from pgbeam_core.session.client_statements import Portal
from pgbeam_core.wire.frames import HEADER
from pgbeam_core.wire.large import HEAD_BYTES, size_of


class Binding:
    """A portal that is bound, perhaps again and again."""

    __slots__ = ("_grows", "_names", "_values_at", "both_names", "portal", "portal_name", "portals")

    def __init__(self, portals: dict[bytes, Portal], portal_name: bytes, both_names: tuple[bytes, bytes]) -> None:
        self.portals = portals
        self.portal_name = portal_name
        self.both_names = both_names
        self.portal: Portal | None = None
        ours, theirs = both_names
        self._names = portal_name + b"\0" + ours + b"\0"
        self._values_at = 7 + len(portal_name) + len(theirs)
        self._grows = len(ours) - len(theirs)

    def renamed(self, frame: bytes) -> bytes:
        """A Bind, or the head of a large one, under the server's name of its statement; see `names.rename_bind`."""
        length = (len(frame) if len(frame) < HEAD_BYTES else size_of(frame)) - 1 + self._grows
        return b"".join((HEADER.pack(extended.BIND, length), self._names, frame[self._values_at :]))

    def bound(self, ok: bool) -> None:
        if ok and self.portal is not None:
            self.portals[self.portal_name] = self.portal
