"""A relay that lets every byte wait, as a network does: python -m bench.relay PORT TO_PORT DELAY_MS, each way."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

HOST = "127.0.0.1"
_CHUNK = 256 * 1024
_MOST_WAITING = 1_000
"""Chunks under way in one direction; the sender waits for more."""


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Each chunk goes on so long after it came, in order, however many are under way."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_WAITING)

    async def deliver() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    delivering = asyncio.ensure_future(deliver())
    try:
        while data := await reader.read(_CHUNK):
            await waiting.put((loop.time() + delay, data))
        await waiting.put((loop.time() + delay, b""))
        await delivering
    except OSError:
        writer.close()
    finally:
        delivering.cancel()


async def _connected(to_port: int, delay: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    far_reader, far_writer = await asyncio.open_connection(HOST, to_port)
    await asyncio.gather(_pass_on(reader, far_writer, delay), _pass_on(far_reader, writer, delay))


async def serve(port: int, to_port: int, delay: float) -> None:
    """Until it is killed. `delay` is in seconds, for one way."""
    server = await asyncio.start_server(partial(_connected, to_port, delay), HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
