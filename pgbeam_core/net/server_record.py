"""What is known of a server: where it is, who it is logged in as, what it was told, what clients have left on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from pgbeam_core.api.pool import Identity, Lease
from pgbeam_core.api.query import Target
from pgbeam_core.session.prepared import ServerStatements

_ids = itertools.count(1)


class ServerRecord:
    """Attributes only, those of `api.pool.Server` among them. They are kept by whoever does what they tell of."""

    def __init__(
        self, target: Target, identity: Identity, application_name: str | None, *, since: float, prepared_limit: int
    ) -> None:
        self.transport: Any = None
        """A Twisted TCP transport or a `streams.Stream`, once there is a connection."""
        self.target = target
        self.address = target.address
        self.identity = identity
        self.id, self.pid, self.secret = next(_ids), 0, b""
        self.alive = self.in_doubt = self.in_template = self.recovering = False
        self.opened_at = self.used_at = since
        self.state: set[str] = set()
        self.settings: dict[str, str] = {} if application_name is None else {"application_name": application_name}
        self.roles_at = 0
        self.statements = ServerStatements(prepared_limit)
        self.reproducible = True
        self.lease: Lease | None = None
        self.sharers = 0
        self.paid_at = 0.0
        self.parameters: dict[str, str] = {}
        """ParameterStatus as of now."""
        self.parameters_at_login: dict[str, str] = {}
        self.greeting: list[bytes] = []
        """Notices that came with the login, for the client whose login it was."""
        self.gone: Callable[[Any, bool], None] = lambda _server, _expected: None
        self.left: Callable[[], None] = lambda: None
        """Told when it has gone by itself."""
        self.ended: Callable[[bool], None] = lambda _expected: None

    def __repr__(self) -> str:
        return f"<Server {self.pid} {self.identity.user}@{self.identity.database} {self.target.address}>"
