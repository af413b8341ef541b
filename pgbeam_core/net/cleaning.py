"""Makes a server fit for another client, and its timeouts long enough for what PgBeam does there of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from pgbeam_core.net import timeouts
from pgbeam_core.session.remains import KEPT_BY_DISCARD
from pgbeam_core.session.settings import HIDDEN
from pgbeam_core.wire import frontend

if TYPE_CHECKING:
    from pgbeam_core.net.server import ServerProtocol

_DISCARD_ALL = frontend.Query(b"DISCARD ALL").to_bytes()


def discard_all(server: ServerProtocol, application_name: str | None) -> Deferred[None]:
    """Run DISCARD ALL and forget what clients left; closed if that is not enough. application_name: of its login."""
    if server.in_doubt or not server.state.isdisjoint(KEPT_BY_DISCARD):
        server.close("a client has left on it what DISCARD ALL does not take away")
        return succeed(None)
    if HIDDEN in server.settings:
        _lift(server, timeouts.NAMES)  # what they are set to is forgotten below
    else:
        _lift(server, timeouts.all_set(server.settings, dict(server.identity.parameters)))
    done = server.send_internal(_DISCARD_ALL, "DISCARD ALL failed")
    server.statements.clear()
    server.settings = {}
    if application_name is not None:
        server.settings["application_name"] = application_name
    server.state.clear()
    return done


def lift_short_timeouts(server: ServerProtocol) -> None:
    """Ahead of something of PgBeam's own: what clients have set may be too short for it."""
    _lift(server, timeouts.short_ones(server.settings, dict(server.identity.parameters)))


def _lift(server: ServerProtocol, names: tuple[str, ...]) -> None:
    if not names:
        return
    request = frontend.Query(timeouts.lifting(names)).to_bytes()
    for _ in range(timeouts.TRIES - 1):
        server.send_internal(request, None)
    server.send_internal(request, "its timeouts could not be lifted")
    server.settings = {**server.settings, **dict.fromkeys(names, "0")}
