"""Clients that another process has accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pgbeam_core.net.client import ClientFactory, ClientProtocol
from pgbeam_core.wire.startup import CancelRequest

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

Elsewhere = Callable[[CancelRequest], Deferred[object]]
"""Has a cancel request looked at by the other workers; fires when they have, and never fails."""


class WorkerClient(ClientProtocol):
    """A client of one worker among several."""

    def __init__(self, beam: Beam, elsewhere: Elsewhere, gone: Callable[[], None]) -> None:
        super().__init__(beam)
        self._elsewhere = elsewhere
        self._gone = gone

    def _cancel(self, request: CancelRequest) -> None:
        """The key may be of a client of another worker.

        The connection is closed when that one has been cancelled: what its client sends after that cannot be hit.
        """
        if self._beam.cancel_keys.find(request) is not None:
            super()._cancel(request)
            return
        self._take = _ignore
        self._elsewhere(request).addCallback(lambda _: self.hang_up("cancel request"))

    def connectionLost(self, reason: Failure = Failure(Exception())) -> None:
        """The socket is closed, by whichever side."""
        super().connectionLost(reason)
        self._gone()


def _ignore(_data: bytes) -> None:
    """Nothing follows a cancel request."""


class WorkerClients(ClientFactory):
    """Makes the protocols of clients that are handed in."""

    def __init__(self, beam: Beam, elsewhere: Elsewhere, gone: Callable[[], None]) -> None:
        super().__init__(beam)
        self._elsewhere = elsewhere
        self._gone = gone

    def buildProtocol(self, addr: object) -> WorkerClient:
        """A client has been handed in."""
        return WorkerClient(self._beam, self._elsewhere, self._gone)
