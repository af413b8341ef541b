"""Where servers of each target come from: its one host, the addresses of its name, or that of several hosts which is
the primary."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Target
from pgbeam_core.internal.dedicated_query import DedicatedQuery
from pgbeam_core.net import opening
from pgbeam_core.upstream.members import Members
from pgbeam_core.upstream.memory import Memory
from pgbeam_core.upstream.named import NamedOpener
from pgbeam_core.upstream.names import Names, is_literal
from pgbeam_core.upstream.opener import PrimaryOpener
from pgbeam_core.upstream.verdict import HOST_QUERY, Row

_TIMELINE = "upstream.timeline"
"""Published: a primary was seen on another timeline than before."""


class Upstreams:
    """Of one `Beam`. project_of(target): the project as it was set when the target came."""

    def __init__(self, beam: Any, project_of: Callable[[Target], Any]) -> None:
        self.members: dict[Target, Members] = {}
        """Of the targets that have several hosts, or have to prove that they are primaries."""
        self.named: dict[Target, NamedOpener] = {}
        """Of those that have one, which is a name."""
        self.memory = Memory(beam.settings.state_dir, partial(beam.broadcast.publish, _TIMELINE))
        beam.broadcast.subscribe(_TIMELINE, self.memory.heard)
        self._beam = beam
        self._project_of = project_of

    def opener(self, target: Target) -> Opener:
        """Opens servers of a target; of several hosts servers of the primary."""
        if not target.watched:
            return self._open_at(target, target) if is_literal(target.host) else self._named(target)
        project = self._project_of(target)
        members = self.members.get(target)
        reactor = self._beam.reactor
        if members is None:
            ask = partial(self._ask, target)
            names = Names(target, reactor, ttl=self._ttl)
            probe_s = project.failover_probe_s
            members = Members(target, reactor, self.memory, ask=ask, names=names, interval=probe_s)
            self.members[target] = members
        return PrimaryOpener(members, partial(self._open_at, target), reactor, project.failover_hold_s)

    def keep(self, targets: Collection[Target]) -> None:
        """Watch over no others any more."""
        for target in [target for target in self.members if target not in targets]:
            self.members.pop(target).close()
        for target in [target for target in self.named if target not in targets]:
            self.named.pop(target).close()

    def names(self) -> list[tuple[str, float, list[str]]]:
        """(host name, seconds for which its addresses hold, these) of all targets."""
        every = [*(opener.names for opener in self.named.values()), *(each.names for each in self.members.values())]
        return [(host, names.seconds_left(host), found) for names in every for host, found in names.known.items()]

    def _named(self, target: Target) -> NamedOpener:
        opener = self.named.get(target)
        if opener is None:
            beam = self._beam
            opener = self.named[target] = NamedOpener(
                Names(target, beam.reactor, ttl=self._ttl),
                partial(self._open_at, target),
                beam.reactor,
                ttl=self._ttl,
                timeout=lambda: beam.settings.connect_timeout_s,
            )
        return opener

    def _ttl(self) -> float:
        seconds: float = self._beam.settings.dns_max_ttl_s
        return seconds

    def _open_at(self, target: Target, place: Target) -> opening.ServerOpener:
        beam = self._beam
        opener: opening.ServerOpener = beam.authority.opener(target, beam.settings, beam.isolation, at=place)
        return opener

    def _ask(self, target: Target, place: Target) -> Deferred[list[Row]]:
        beam, identity = self._beam, Identity(place.user or "postgres", place.database or "postgres")
        opener = opening.ServerOpener(beam.reactor, place, prepared_limit=1, timeout=beam.settings.connect_timeout_s)
        return DedicatedQuery(identity, HOST_QUERY, beam.authority.relay(target, identity.user)).ask(opener)
