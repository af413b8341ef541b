"""SHOW WAITING, TRANSACTIONS and PINS: what clients are in the middle of, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pgbeam_core.api.console import Table
from pgbeam_core.console.places import consoles, label
from pgbeam_core.console.sockets import client_id, is_in

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.net.client import ClientProtocol
    from pgbeam_core.session.session import Session

_WHO = ("id", "user", "database", "addr")
_WHO_TYPES = ("int8", "text", "text", "text")
_UNKNOWN = "an answer of a plugin or of the server's catalog"


def waiting(beam: Beam) -> Table:
    """SHOW WAITING: clients for whom something else has to happen first, logins among them, longest first."""
    waiters = [waiter for _, pool in consoles(beam) for waiter in pool.waiters()]
    reasons = {id(waiter.waits_for): (waiter.since, waiter.reason) for waiter in waiters}
    logins = {waiter.identity: waiter.reason for waiter in waiters}
    rows = []
    for client in beam.clients:
        session, pending = client.session, client.waits_for
        if session is None or pending is None:
            continue
        other = _UNKNOWN if is_in(client) else logins.get(session.identity, "its login")
        since, reason = reasons.get(id(pending), (None, other))
        if since is None:
            since = client.conversation.pace.begun if client.conversation is not None else client.came
        seconds = round(beam.now() - since, 3)
        rows.append((*_who(beam, client, session), "query" if is_in(client) else "login", seconds, reason))
    rows.sort(key=lambda row: -float(row[5]))
    return Table((*_WHO, "what", "seconds", "why"), rows, (*_WHO_TYPES, "text", "float8", "text"))


def transactions(beam: Beam) -> Table:
    """SHOW TRANSACTIONS: explicit ones. `lazy`: no server has heard of it yet; `real`: it has one, for the reason why.

    seconds: since BEGIN. idle: since its client was heard of last; None while a request is under way.
    """
    rows = []
    for client, session in _in_transactions(beam):
        conversation = client.conversation
        assert conversation is not None
        transaction = conversation.transaction
        lease = session.lease
        now = beam.now()
        idle = None if conversation.phase.value != "idle" else round(now - conversation.pace.begun, 3)
        rows.append(
            (
                *(*_who(beam, client, session), "lazy" if transaction.kept_back else "real"),
                "failed" if session.status == b"E" else "open",
                *(round(now - transaction.began_at, 3), idle, None if transaction.kept_back else transaction.why),
                *(transaction.isolation, None if lease is None else lease.server.pid),
            )
        )
    rows.sort(key=lambda row: -float(row[6]))
    columns = (*_WHO, "kind", "state", "seconds", "idle", "why", "isolation", "server_pid")
    types = (*_WHO_TYPES, "text", "text", "float8", "float8", "text", "text", "int4")
    return Table(columns, rows, types)


def pins(beam: Beam) -> Table:
    """SHOW PINS: sessions that keep their server, and what they have left on it."""
    rows = []
    for client in beam.clients:
        session = client.session
        if session is None or not session.pins:
            continue
        pid = None if session.lease is None else session.lease.server.pid
        rows.append((*_who(beam, client, session), ", ".join(sorted(session.pins)), pid))
    return Table((*_WHO, "pins", "server_pid"), rows, (*_WHO_TYPES, "text", "int4"))


def _in_transactions(beam: Beam) -> Iterator[tuple[ClientProtocol, Session]]:
    for client in beam.clients:
        session = client.session
        if session is not None and client.conversation is not None and session.in_transaction:
            yield client, session


def _who(beam: Beam, client: ClientProtocol, session: Session) -> tuple[int, str, str, str]:
    return (
        client_id(beam, client),
        session.user,
        label(beam, session.project.name, session.database),
        client.channel.address,
    )
