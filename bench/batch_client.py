"""The clients of a batch, each a process of its own: `python -m bench.batch_client WHAT HOST PORT USER DATABASE ROWS`.

WHAT is a driver that inserts so many rows at once (psycopg, asyncpg, raw), and the seconds that takes are printed; or
`beside`, a client that asks `select 1` until its stdin ends, and prints its usual and its longest wait in milliseconds.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable
from statistics import median

import asyncpg  # type: ignore[import-untyped]
import psycopg

INSERT = "INSERT INTO batched VALUES ({}, {})"
PATIENCE_S = 300


def by_psycopg(host: str, port: int, user: str, database: str, rows: int) -> float:
    """`executemany`, in a pipeline; without prepared statements, which not every proxy has."""
    values = [(number, "a row") for number in range(rows)]
    with psycopg.connect(host=host, port=port, user=user, dbname=database, prepare_threshold=None) as connection:
        connection.execute("SELECT 1")
        begin = time.perf_counter()
        connection.cursor().executemany(INSERT.format("%s", "%s"), values)
        connection.commit()
        return time.perf_counter() - begin


def by_asyncpg(host: str, port: int, user: str, database: str, rows: int) -> float:
    """`executemany`, with one Sync."""

    async def work() -> float:
        connection = await asyncpg.connect(host=host, port=port, user=user, database=database, statement_cache_size=0)
        async with connection.transaction():
            begin = time.perf_counter()
            await connection.executemany(INSERT.format("$1::int", "$2"), [(number, "a row") for number in range(rows)])
        took = time.perf_counter() - begin
        await connection.close()
        return took

    return asyncio.run(work())


def by_raw(host: str, port: int, user: str, database: str, rows: int) -> float:
    """One Parse, a Bind and an Execute for each row, one Sync; sent as fast as it is taken."""
    text = INSERT.format("$1", "$2").encode()
    one = _frame(b"B", b"\0\0\0\0\0\2" + b"\0\0\0\1" + b"7" + b"\0\0\0\5" + b"a row" + b"\0\0") + _frame(b"E", bytes(5))
    request = _frame(b"P", b"\0" + text + b"\0\0\0") + one * rows + _frame(b"S", b"")
    words = b"user\0" + user.encode() + b"\0database\0" + database.encode() + b"\0\0"
    with socket.create_connection((host, port), PATIENCE_S) as client:
        client.sendall((len(words) + 8).to_bytes(4) + (3 << 16).to_bytes(4) + words)
        _until_ready(client)
        begin = time.perf_counter()
        sending = threading.Thread(target=client.sendall, args=(request,))
        sending.start()
        _until_ready(client)
        took = time.perf_counter() - begin
        sending.join()
        return took


def _frame(tag: bytes, body: bytes) -> bytes:
    return tag + (len(body) + 4).to_bytes(4) + body


def _until_ready(client: socket.socket) -> None:
    tail = b""
    while tail[-6:-1] != b"Z\0\0\0\5":
        data = client.recv(1 << 18)
        if not data:
            raise ConnectionError("closed in the middle of a batch")
        tail = (tail + data)[-6:]


def beside(host: str, port: int, user: str, database: str) -> tuple[float, float]:
    """Ask until stdin ends; the median and the longest wait in milliseconds."""
    over = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    waits: list[float] = []
    with psycopg.connect(host=host, port=port, user=user, dbname=database, autocommit=True) as connection:
        connection.prepare_threshold = None
        connection.execute("SELECT 1")
        print("ready", flush=True)
        while not over.is_set():
            begin = time.perf_counter()
            connection.execute("SELECT 1")
            waits.append(time.perf_counter() - begin)
    return median(waits) * 1000, max(waits) * 1000


DRIVERS: dict[str, Callable[[str, int, str, str, int], float]] = {
    "psycopg": by_psycopg,
    "asyncpg": by_asyncpg,
    "raw": by_raw,
}


def main() -> None:
    """Do what the arguments say, and print the figures."""
    what, host, port, user, database, rows = sys.argv[1:]
    if what == "beside":
        print(*beside(host, int(port), user, database))
    else:
        print(DRIVERS[what](host, int(port), user, database, int(rows)))


if __name__ == "__main__":
    main()
