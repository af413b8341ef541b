"""SHOW CLIENTS, SERVERS and SOCKETS: one row for each connection, in PgBouncer's columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pgbeam_core.api.console import Table
from pgbeam_core.console.places import NAME, consoles, label
from pgbeam_core.session.state import Phase

if TYPE_CHECKING:
    from pgbeam_core.api.pool import PoolMember
    from pgbeam_core.beam import Beam
    from pgbeam_core.net.client import ClientProtocol

COLUMNS = (
    *("type", "user", "database", "replication", "state", "addr", "port", "local_addr", "local_port", "connect_time"),
    *("request_time", "wait", "wait_us", "close_needed", "ptr", "link", "remote_pid", "tls", "application_name"),
    *("prepared_statements", "id"),
)
_NUMBERS = {"port", "local_port", "wait", "wait_us", "close_needed", "remote_pid", "prepared_statements", "id"}
TYPES = tuple("int4" if name in _NUMBERS else "text" for name in COLUMNS)
_BUFFERS = ("recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail", "send_avail")
WAITING, ACTIVE, IDLE, LOGIN = "waiting", "active", "idle", "login"


class Address(NamedTuple):
    """One end of a connection."""

    host: str
    port: int


def clients(beam: Beam) -> Table:
    """SHOW CLIENTS: those that are logged in."""
    return Table(COLUMNS, [_client(beam, each) for each in beam.clients if is_in(each)], TYPES)


def servers(beam: Beam) -> Table:
    return Table(COLUMNS, list(_servers(beam)), TYPES)


def sockets(beam: Beam, *, active: bool = False) -> Table:
    """SHOW SOCKETS, those of clients that log in among them; active: those with something in their buffers."""
    rows = []
    for each in list(beam.clients):
        row = _client(beam, each)
        buffered = _buffered(each)
        rows.append((*row[:4], f"cl_{row[4]}", *row[5:], buffered, 0, 0, 0, 0, buffered, 0))
    rows += [(*row[:4], f"sv_{row[4]}", *row[5:], *[0] * len(_BUFFERS)) for row in _servers(beam)]
    if active:
        rows = [row for row in rows if row[-2] or row[4] in ("cl_active", "sv_active")]
    return Table((*COLUMNS, *_BUFFERS), rows, (*TYPES, *["int4"] * len(_BUFFERS)))


def is_in(client: ClientProtocol) -> bool:
    """Whether it has logged in, to a database or to the console."""
    return client.conversation is not None or client.console is not None


def state_of(client: ClientProtocol) -> str:
    """What a client does: it logs in, waits for a server, has one, or is idle."""
    if not is_in(client):
        return LOGIN
    conversation = client.conversation
    if conversation is None:
        return ACTIVE
    if conversation.phase is Phase.WAITING:
        return WAITING
    return ACTIVE if conversation.session.lease is not None else IDLE


def user_of(client: ClientProtocol) -> str:
    """Who it says it is."""
    return "(nouser)" if client.session is None else client.session.user


def waits_since(client: ClientProtocol) -> float | None:
    """When what the client waits for was asked for; None if it waits for no server."""
    conversation = client.conversation
    return conversation.pace.begun if conversation is not None and state_of(client) == WAITING else None


def _client(beam: Beam, client: ClientProtocol) -> tuple[Any, ...]:
    session, conversation = client.session, client.conversation
    here = address(client.transport, "getHost")
    channel, since = client.channel, waits_since(client)
    lease = None if session is None else session.lease
    waited = 0.0 if since is None else beam.now() - since
    at_console = client.console is not None
    prepared = 0 if conversation is None else sum(bool(name) for name in conversation.client_statements.statements)
    return (
        *("C", user_of(client)),
        NAME if at_console else "(nodb)" if session is None else label(beam, session.project.name, session.database),
        "physical" if session is not None and session.replication else "none",
        *(state_of(client), channel.address, channel.port, here.host, here.port),
        *(clock(beam, client.came), clock(beam, client.came if conversation is None else conversation.pace.begun)),
        *(*_wait(waited), 0, pointer(beam, client), "" if lease is None else pointer(beam, lease.server)),
        *(0, channel.tls or "", "" if session is None else session.application_name or ""),
        *(prepared, client_id(beam, client)),
    )


def _servers(beam: Beam) -> Iterator[tuple[Any, ...]]:
    held = {}
    for client in beam.clients:
        lease = None if client.session is None else client.session.lease
        if lease is not None and not lease.shared:
            held[id(lease.server)] = pointer(beam, client)
    for target, pool in consoles(beam):
        for member in pool.members():
            if member.server is not None:
                yield _server(beam, target.project, member, held.get(id(member.server), ""))


def _server(beam: Beam, project: str, member: PoolMember, link: str) -> tuple[Any, ...]:
    server: Any = member.server
    here = address(server.transport, "getHost")
    there = address(server.transport, "getPeer")
    return (
        *("S", member.identity.user, label(beam, project, member.identity.database)),
        "physical" if "replication" in dict(member.identity.parameters) else "none",
        *(member.state, there.host, there.port, here.host, here.port),
        *(clock(beam, server.opened_at), clock(beam, server.used_at), 0, 0, 0),
        *(pointer(beam, server), link, server.pid),
        *(
            getattr(server, "tls", None) or "",
            server.parameters.get("application_name", ""),
            len(server.statements.names),
            server.id,
        ),
    )


def client_id(beam: Beam, client: ClientProtocol) -> int:
    """One number for each client of all workers: KILL_CLIENT takes it."""
    return beam.console.id_of(client.number)


def pointer(beam: Beam, what: object) -> str:
    """What stands for a connection in `ptr` and `link`."""
    return f"0x{beam.console.worker:x}{id(what):012x}"


def address(transport: Any, end: str) -> Address:
    """One end of a connection, by the name of Twisted's method; "unix" stands for a socket in the file system."""
    found = getattr(transport, end, lambda: None)()
    return Address(str(getattr(found, "host", "unix")), int(getattr(found, "port", 0)))


def clock(beam: Beam, at: float) -> str:
    """The time of day of a moment that the reactor's clock has told."""
    wall = datetime.fromtimestamp(time.time() - (beam.now() - at), UTC)
    return wall.strftime("%Y-%m-%d %H:%M:%S UTC")


def _buffered(client: ClientProtocol) -> int:
    return 0 if client.conversation is None else len(client.conversation.input.inbox)


def _wait(seconds: float) -> tuple[int, int]:
    return int(seconds), int(seconds % 1 * 1e6)
