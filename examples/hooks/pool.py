"""A pool that keeps no server: each lease gets a fresh one, and what comes back is closed."""

from collections.abc import Mapping

from twisted.internet.defer import Deferred

from pgbeam_core import Beam, Identity, Lease, Opener, Pool, Project, Relay, Server, Session, Target, hookimpl


class NoPool:
    """See above; PgBeam's own is in plugins/pool."""

    available = True

    def __init__(self, beam: Beam, opener: Opener) -> None:
        self._now = beam.now
        self._open = opener

    def login(self, session: Session, relay: Relay) -> Deferred[Lease]:
        return self._open(session.identity, session.application_name, relay).addCallback(self._leased)

    def lease(self, identity: Identity, settings: Mapping[str, str], *, shared: bool = False) -> Deferred[Lease]:
        return self._open(identity, None, None).addCallback(self._leased)

    def _leased(self, server: Server) -> Lease:
        server.lease = Lease(self, server, shared=False, waited=0.0, since=self._now())
        return server.lease

    def give_back(self, lease: Lease) -> None:
        lease.server.lease = None
        if lease.server.alive:
            lease.server.close("nothing is kept")

    def leave(self, database: str) -> None:
        """Nothing is kept."""

    def close(self, reason: str) -> None:
        """Likewise."""


@hookimpl
def pool(beam: Beam, project: Project, target: Target) -> Pool:
    return NoPool(beam, beam.opener(target))
