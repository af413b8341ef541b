"""Places to check the comparison with: one that is right by itself, and one that keeps nothing apart."""

from __future__ import annotations

from typing import Any

from .. import frames
from ..beams import Direct
from ..clusters import DATABASE, Cluster
from ..wireclient import WireClient


class Alone(Direct):
    """Each client has a server of its own, as PgBeam in transaction mode has to make believe."""

    pool_mode = "transaction"


class OneForAll(Alone):
    """The clients of a user are on one server, as they are."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster)
        self._lent: dict[str, Lent] = {}

    def wire(self, user: str = "app", database: str = DATABASE, password: str = "", **login: Any) -> WireClient:
        """The connection that everybody has."""
        if user not in self._lent or not self._lent[user].users:
            self._lent[user] = Lent.login(self.port, user, database, password, **login)
        self._lent[user].users += 1
        return self._lent[user]


class Lent(WireClient):
    """A connection that stays until the last of its users has left."""

    users = 0

    def send(self, data: bytes, chunk: int = 0) -> None:
        """Send it, unless it says goodbye."""
        if data != frames.terminate():
            super().send(data, chunk)

    def close(self) -> None:
        """Stay, while somebody needs it."""
        self.users -= 1
        if self.users <= 0:
            super().close()
