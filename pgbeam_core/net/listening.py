"""What a listener needs: a client for each connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Factory

from pgbeam_core.net.client import ClientProtocol, Elsewhere

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam


class ClientFactory(Factory):
    """Makes the protocols of a listener."""

    noisy = False

    def __init__(self, beam: Beam, elsewhere: Elsewhere | None = None, gone: Callable[[], None] | None = None) -> None:
        self._beam = beam
        self._elsewhere = elsewhere
        self._gone = gone

    def buildProtocol(self, addr: object) -> Any:
        return ClientProtocol(self._beam, self._elsewhere, self._gone)
