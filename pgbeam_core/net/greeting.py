"""What a server says of itself at a login: for clients that PgBeam lets in without one."""

from __future__ import annotations

from collections.abc import Mapping

from pgbeam_core.api.pool import Identity
from pgbeam_core.api.query import Target
from pgbeam_core.wire import backend

_MOST = 10_000
"""Identities whose greetings are remembered; beyond that all are forgotten, and servers opened that tell."""


class Greeting:
    """The parameters of one login. Clients are mostly told the same, so the frames are kept."""

    __slots__ = ("_told", "parameters")

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self.parameters = parameters
        self._told: tuple[dict[str, str], bytes] | None = None

    def statuses(self, told: dict[str, str]) -> bytes:
        """The ParameterStatus frames of those parameters."""
        if self._told is None or self._told[0] != told:
            frames = b"".join(backend.parameter_status(name, value) for name, value in told.items())
            self._told = dict(told), frames
        return self._told[1]


class Greetings:
    """What the latest server of each identity has said when it had logged in."""

    def __init__(self) -> None:
        self._known: dict[tuple[Target, Identity], Greeting] = {}

    def told(self, target: Target, identity: Identity, parameters: Mapping[str, str]) -> None:
        """A server has logged in."""
        place = target, identity
        found = self._known.get(place)
        if found is not None and found.parameters == parameters:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[place] = Greeting(dict(parameters))

    def of(self, target: Target, identity: Identity) -> Greeting | None:
        """None if no server of that identity has logged in lately."""
        return self._known.get((target, identity))
