"""All that a PgBeam listens on, together: for clients, for the control socket's askers, for Prometheus.

A PgBeam whose place another process takes gives it the descriptors (`handed`), accepts nobody while that one does
(`shut`), accepts again if that one fails (`open`), and lets go in the end (`leave`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgbeam_core.control.door import Handed
from pgbeam_core.control.server import ControlSocket
from pgbeam_core.net.acceptor import Acceptor
from pgbeam_core.net.given import Given, GivenSockets

if TYPE_CHECKING:
    from pgbeam_core.web.site import Web


@dataclass(frozen=True)
class Inheritance:
    """What a process is given at its start."""

    sockets: GivenSockets = field(default_factory=GivenSockets)
    control: Handed | None = None


@dataclass(frozen=True)
class Doors:
    """Those of one PgBeam, as far as it has them."""

    acceptor: Acceptor | None
    web: Web | None
    control: ControlSocket | None

    @property
    def sockets(self) -> list[Given]:
        return [
            *([] if self.acceptor is None else self.acceptor.sockets()),
            *([] if self.web is None else self.web.sockets()),
        ]

    @property
    def handed(self) -> Handed | None:
        return None if self.control is None else self.control.handed

    def shut(self) -> None:
        """Accept nobody: who comes waits until this process or another one does."""
        for door in (self.acceptor, self.web, self.control):
            if door is not None:
                door.shut()

    def open(self) -> None:
        for door in (self.acceptor, self.web, self.control):
            if door is not None:
                door.open()

    def leave(self, kept: Collection[str], *, control: bool) -> None:
        """Listen no more; these paths, and the control socket, are another process's."""
        if self.acceptor is not None:
            self.acceptor.leave_paths(kept)
            self.acceptor.close()
        if self.control is not None and control:
            self.control.leave_path()
