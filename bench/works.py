"""What is measured: every row of the tables, with what is wanted of PgBeam in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bench.figures import Goal, Sample
from bench.places import Place
from bench.stage import Stage
from bench.work_batch import BatchWork
from bench.work_copy import CopyWork
from bench.work_far import LIBRARIES, FarWork
from bench.work_idle import IdleWork
from bench.work_login import LoginWork
from bench.work_pgbench import KEYS, PROTOCOLS, PgbenchWork
from bench.work_watched import WatchedWork

GROUPS = (
    "select",
    "cached",
    "transaction",
    "far",
    "tpcb",
    "connect",
    "login",
    "tls",
    "batch",
    "copy",
    "idle",
    "watched",
)
THREE = ("direct", "pgbouncer", "pgbeam")
DRIVERS = ("psycopg", "asyncpg", "raw")
IDLE_BYTES = 25_000
TLS_IDLE_BYTES = 75_000
_MANY_ROWS = 20_000
"""Rows of a batch from which on its length counts, and not how long it takes to begin."""

_SELECT_GOALS: dict[int, tuple[Goal, ...]] = {
    1: (Goal(0.85, "pgbouncer"),),
    16: (Goal(1.0, "pgbouncer"),),
    64: (Goal(1.5, "pgbouncer"), Goal(1.4, "direct"), Goal(1.0, "pgbouncer", "spread")),
    256: (),
}


_ONE_READ = "BEGIN; select by key; COMMIT"
_TRANSACTION_GOALS: dict[int, tuple[Goal, ...]] = {
    16: (Goal(1.3, "pgbouncer"),),
    64: (Goal(1.8, "pgbouncer"), Goal(1.5, "direct")),
}
_CACHED_GOALS: dict[int, tuple[Goal, ...]] = {16: (Goal(2.5, "pgbouncer"),)}
_ROUND_TRIPS = {"read": 1.2, "cached read": 0.5, "write": 2.2}
"""Of one transaction, at most."""


class Work(Protocol):
    """One row of the tables."""

    @property
    def name(self) -> str:
        """How tables call it."""

    @property
    def group(self) -> str:
        """One of GROUPS."""

    @property
    def unit(self) -> str:
        """What its figures are per."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Which places are compared."""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What is wanted of PgBeam."""

    def prepare(self, stage: Stage, place: Place) -> None:
        """Done once for each place, unmeasured. RunFailed: there is nothing to measure there."""

    def once(self, stage: Stage, place: Place) -> Sample:
        """One run. RunFailed says what went wrong."""


def all_works(
    *,
    select_clients: Sequence[int] = (1, 16, 64, 256),
    cached_clients: Sequence[int] = (16, 64),
    batch_rows: Sequence[int] = (1, 1_000, 20_000, 100_000),
    transaction_clients: Sequence[int] = (1, 16, 64),
    idle_clients: int = 10_000,
) -> list[Work]:
    """The rows of all groups, in the order of the tables."""
    works: list[Work] = [_select(clients, protocol) for protocol in PROTOCOLS for clients in select_clients]
    works += [_cached(clients, protocol) for protocol in PROTOCOLS[:2] for clients in cached_clients]
    works += [_transaction(clients, cached=cached) for cached in (False, True) for clients in transaction_clients]
    works += [FarWork(library, kind, THREE, trips) for library in LIBRARIES for kind, trips in _ROUND_TRIPS.items()]
    works += [
        PgbenchWork(
            "tpcb",
            "tpcb-like",
            16,
            "simple",
            (*THREE[:2], "sent", "pgbeam"),
            "TPC-B",
            (Goal(0.85, "pgbouncer"), Goal(1.12, "sent")),
            logged=1.0,
            warm_up=200,
        ),
        PgbenchWork(
            "connect",
            "select-only",
            16,
            "simple",
            THREE,
            "connect per transaction",
            (Goal(0.7, "pgbouncer"),),
            reconnect=True,
            logged=1.0,
            warm_up=50,
        ),
    ]
    works.append(LoginWork(16, THREE, (Goal(0.7, "pgbouncer"), Goal(10.0, "direct"))))
    works += [_encrypted(clients) for clients in (16, 64)]
    works.append(_encrypted(16, reconnect=True))
    works += [_batch(rows, driver) for driver in DRIVERS for rows in batch_rows]
    works += [CopyWork(direction, THREE, (Goal(0.95, "pgbouncer"),)) for direction in ("out", "in")]
    works.append(IdleWork(idle_clients, THREE[1:], (Goal(IDLE_BYTES, None, "bytes_each"),)))
    works += [_watched(protocol) for protocol in PROTOCOLS[:2]]
    works.append(IdleWork(idle_clients, THREE[1:], (Goal(TLS_IDLE_BYTES, None, "bytes_each"),), encrypted=True))
    return works


def _select(clients: int, protocol: str) -> PgbenchWork:
    goals = _SELECT_GOALS.get(clients, ())
    if protocol == "prepared":
        goals = (Goal(1.3, "direct"),) if clients == 64 else ()
    warm_up = 500 if clients == 1 else 2_000
    return PgbenchWork("select", "select-only", clients, protocol, THREE, "select by key", goals, warm_up=warm_up)


def _encrypted(clients: int, *, reconnect: bool = False) -> PgbenchWork:
    """Over TLS; `reconnect`: each transaction begins with a handshake."""
    title = "connect over TLS per transaction" if reconnect else "select by key over TLS"
    return PgbenchWork(
        "tls",
        "select-only",
        clients,
        "extended",
        THREE[1:],
        title,
        (Goal(0.7 if reconnect else 0.9, "pgbouncer"),),
        reconnect=reconnect,
        encrypted=True,
        logged=1.0 if reconnect else 0.1,
        warm_up=50 if reconnect else 2_000,
    )


def _watched(protocol: str) -> WatchedWork:
    return WatchedWork(PgbenchWork("watched", "select-only", 64, protocol, ("watched", "pgbeam"), "select by key"))


def _transaction(clients: int, *, cached: bool) -> PgbenchWork:
    script, title = ("cached transaction", "BEGIN; cached select; COMMIT") if cached else ("transaction", _ONE_READ)
    goals = (_CACHED_GOALS if cached else _TRANSACTION_GOALS).get(clients, ())
    ways = (*THREE[:2], "sent", "pgbeam")
    return PgbenchWork("transaction", script, clients, "extended", ways, title, goals, warm_up=10 * KEYS)


def _batch(rows: int, driver: str) -> BatchWork:
    goals = (Goal(0.67, "direct"),) if rows >= _MANY_ROWS else ()
    return BatchWork(driver, rows, THREE, goals)


def _cached(clients: int, protocol: str) -> PgbenchWork:
    goals = (Goal(3.0, "pgbouncer"), Goal(2.0, "pgpool"))
    ways = (*THREE[:2], "pgpool", "pgbeam")
    return PgbenchWork("cached", "cached", clients, protocol, ways, "cached select", goals, warm_up=10 * KEYS)
