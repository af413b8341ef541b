"""The relay that makes PostgreSQL far away."""

from __future__ import annotations

import asyncio

from bench.relay import HOST, serve
from pgbeam_core.embedded.postgres import free_port
from tests.behaviour.loops import run


async def _round_trips(count: int) -> tuple[list[bytes], float]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    port, loop = free_port(), asyncio.get_running_loop()
    async with await asyncio.start_server(echo, HOST, 0) as there:
        relay = asyncio.ensure_future(serve(port, there.sockets[0].getsockname()[1], 0.005))
        await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_connection(HOST, port)
        before, got = loop.time(), []
        for number in range(count):
            writer.write(b"%d" % number)
            got.append(await reader.read(100))
        took = loop.time() - before
        writer.close()
        relay.cancel()
    return got, took


def test_each_round_trip_takes_its_time_and_loses_nothing() -> None:
    """Both ways are delayed; what is sent arrives, in order."""
    got, took = run(_round_trips(10))
    assert got == [b"%d" % number for number in range(10)]
    assert took >= 10 * 0.01
