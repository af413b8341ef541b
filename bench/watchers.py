"""`python -m bench.watchers PORT SPANS TOKEN`: looks at a PgBeam as those do who watch it, until it is ended.

Prometheus scrapes each second, the page is open with its tables and charts, `pgbeam top` shows shapes at 2 Hz, and who
collects spans takes them at the port SPANS. It parses nothing: what looking costs PgBeam is measured, not what is made
of it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from pgbeam_core.embedded.postgres import HOST

SHAPES = "/v1/shapes?sort=total_ms&limit=50&ttl=60&swr=30"
PAGE = ("/v1/history?since=0", SHAPES, "/v1/tables/waiting", "/v1/tables/databases", "/v1/tables/clients?limit=100")
LOOKS: Sequence[tuple[float, Sequence[str]]] = (
    (1.0, ("/metrics",)),
    (2.0, PAGE),
    (0.5, ("/v1/view", SHAPES)),
)
"""Seconds from one look to the next, and what is asked then."""


READY = "looking"
"""What is said once the looks begin: what comes before is Python's start, and costs as much as many looks."""
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def look(connection: Connection, token: str, every_s: float, paths: Sequence[str]) -> None:
    """Ask for them, again and again."""
    reader, writer = connection
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        for path in paths:
            head = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n"
            writer.write(head.encode())
            await answered(reader)
        due += every_s
        await asyncio.sleep(max(0.0, due - loop.time()))


async def answered(reader: asyncio.StreamReader) -> None:
    """Take one reply from the connection. Raises ValueError for one that is no success."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if " 200 " not in head.partition("\r\n")[0]:
        raise ValueError(head.partition("\r\n")[0])
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    await reader.readexactly(length)


async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take spans, one request after another."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except asyncio.IncompleteReadError:
        writer.close()


async def _all(port: int, spans: int, token: str) -> None:
    await asyncio.start_server(collect, HOST, spans)
    connections = [await asyncio.open_connection(HOST, port) for _ in LOOKS]
    print(READY, flush=True)
    looks = zip(connections, LOOKS, strict=True)
    await asyncio.gather(*(look(connection, token, every_s, paths) for connection, (every_s, paths) in looks))


if __name__ == "__main__":
    asyncio.run(_all(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
