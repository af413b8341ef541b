"""SHOW POOLS, DATABASES and USERS: clients and servers counted by database and user."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pgbeam_core.api.console import Table
from pgbeam_core.api.pool import PoolSizes
from pgbeam_core.api.query import Target
from pgbeam_core.console.places import NAME, consoles, known, label
from pgbeam_core.console.sockets import WAITING, is_in, state_of, user_of, waits_since

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

_POOLS = (
    *("database", "user", "cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active"),
    *("sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait", "maxwait_us"),
    *("pool_mode", "load_balance_hosts"),
)
_DATABASES = (
    *("name", "host", "port", "database", "force_user", "pool_size", "min_pool_size", "reserve_pool_size"),
    *("server_lifetime", "pool_mode", "load_balance_hosts", "max_connections", "current_connections"),
    *("max_client_connections", "current_client_connections", "paused", "disabled"),
)
_USERS = (
    *("name", "pool_size", "reserve_pool_size", "pool_mode", "max_user_connections", "current_connections"),
    *("max_user_client_connections", "current_client_connections"),
)
_OF_STATE = {"active": "sv_active", "idle": "sv_idle", "tested": "sv_tested", "new": "sv_login"}
Place = tuple[str, str]
"""The name of a database as the console has it, and that of a user."""


class _Counts:
    """The clients and servers of one process."""

    def __init__(self, beam: Beam) -> None:
        self.of: dict[Place, Counter[str]] = {}
        self.longest: dict[Place, float] = {}
        """Seconds that the client has waited who waits longest."""
        self.modes: dict[Place, str] = {}
        for client in beam.clients:
            session = client.session
            if session is not None and client.conversation is not None:
                place = label(beam, session.project.name, session.database), session.user
                self._client(beam, place, state_of(client) == WAITING, waits_since(client))
                self.modes[place] = session.project.pool_mode
            elif client.console is not None:
                self._client(beam, (NAME, user_of(client)), False, None)
                self.modes[NAME, user_of(client)] = "statement"
        for target, pool in consoles(beam):
            for member in pool.members():
                place = label(beam, target.project, member.identity.database), member.identity.user
                self.of.setdefault(place, Counter())[_OF_STATE[member.state]] += 1

    def _client(self, beam: Beam, place: Place, waits: bool, since: float | None) -> None:
        counter = self.of.setdefault(place, Counter())
        counter["cl_waiting" if waits else "cl_active"] += 1
        if since is not None:
            self.longest[place] = max(self.longest.get(place, 0.0), beam.now() - since)


def pools(beam: Beam) -> Table:
    counts = _Counts(beam)
    rows = []
    for place, counter in sorted(counts.of.items()):
        numbers = [counter[name] for name in _POOLS[2:13]]
        mode = counts.modes.get(place) or _mode(beam, place[0])
        longest = counts.longest.get(place, 0.0)
        rows.append((*place, *numbers, int(longest), int(longest % 1 * 1e6), mode, None))
    types = ("text", "text", *["int4"] * 13, "text", "text")
    return Table(_POOLS, rows, types, ("database", "user"), {"maxwait": "max", "maxwait_us": "max"})


def _hosts(target: Target) -> str:
    return ",".join(host for host, _ in target.hosts) or target.host


def databases(beam: Beam) -> Table:
    """SHOW DATABASES: those that the settings name, and those that clients use."""
    clients, servers = _clients_of(beam), _servers_of(beam)
    steering = beam.console.steering
    rows: list[tuple[object, ...]] = []
    for project_name, database in sorted(known(beam)):
        project = beam.settings.projects.get(project_name)
        if project is None:
            continue
        name = label(beam, project_name, database)
        sizes = next((pool.sizes for target, pool in consoles(beam) if target == project.primary), PoolSizes(0))
        there = getattr(getattr(project, "databases", {}).get(database), "database", None) or database
        user = getattr(getattr(project, "databases", {}).get(database), "user", None)
        paused, disabled = steering.paused(project_name, database), steering.is_disabled(project_name, database)
        rows.append(
            (
                *(name, _hosts(project.primary), project.primary.port, there, user, sizes.size, sizes.min_idle, 0),
                *(int(sizes.lifetime_s), project.pool_mode, None, sizes.size, servers[name], 0, clients[name]),
                *(int(paused), int(disabled)),
            )
        )
    port = beam.settings.listen[0].port if beam.settings.listen else 0
    at_console = sum(client.console is not None for client in beam.clients)
    rows.append((NAME, None, port, NAME, None, 0, 0, 0, 0, "statement", None, 0, 0, 0, at_console, 0, 0))
    texts = {"name", "host", "database", "force_user", "pool_mode", "load_balance_hosts"}
    types = tuple("text" if name in texts else "int4" for name in _DATABASES)
    fixed = dict.fromkeys(
        ("port", "min_pool_size", "reserve_pool_size", "server_lifetime", "paused", "disabled"), "max"
    )
    return Table(_DATABASES, rows, types, ("name",), fixed)


def users(beam: Beam) -> Table:
    """SHOW USERS: those that the settings name, and those who are here."""
    clients: Counter[str] = Counter(user_of(client) for client in beam.clients if is_in(client))
    servers: Counter[str] = Counter()
    for _, pool in consoles(beam):
        servers.update(member.identity.user for member in pool.members())
    named = {*beam.settings.admin_users, *beam.settings.stats_users}
    rows = [(name, "", "", None, 0, servers[name], 0, clients[name]) for name in sorted({*clients, *servers, *named})]
    return Table(_USERS, rows, ("text", "text", "text", "text", "int4", "int4", "int4", "int4"), ("name",))


def _clients_of(beam: Beam) -> Counter[str]:
    return Counter(
        label(beam, client.session.project.name, client.session.database)
        for client in beam.clients
        if client.session is not None and is_in(client)
    )


def _servers_of(beam: Beam) -> Counter[str]:
    found: Counter[str] = Counter()
    for target, pool in consoles(beam):
        found.update(label(beam, target.project, member.identity.database) for member in pool.members())
    return found


def _mode(beam: Beam, name: str) -> str:
    project = beam.settings.projects.get(name.partition("/")[0]) or beam.settings.default_project
    return "transaction" if project is None else project.pool_mode
