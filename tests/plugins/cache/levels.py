"""A second level for worlds: the same folder, or the same Redis, for several of them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from pgbeam_cache.consistency.databases import Databases
from pgbeam_cache.storage.async_store import AsyncStore, Backing
from pgbeam_cache.storage.disk import DiskStore
from pgbeam_cache.storage.remote import RemoteStore
from pgbeam_cache.storage.second_level import SecondLevel
from pgbeam_cache.storage.version_table import VersionTable, shared
from tests.plugins.cache.worlds import World


class AtOnce:
    """A worker that does its jobs at once, or when the test says so."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] | None = None

    def run(self, job: Callable[[], Any], then: Callable[[Any], None], otherwise: Callable[[Exception], None]) -> None:
        """Do it."""

        def do() -> None:
            try:
                result = job()
            except Exception as error:
                otherwise(error)
            else:
                then(result)

        if self.held is None:
            do()
        else:
            self.held.append(do)

    def release(self) -> None:
        """Do what was held back."""
        held, self.held = self.held or [], None
        for do in held:
            do()

    def close(self, last: Callable[[], None]) -> None:
        """The end."""
        last()


def world_with(backing: Backing, board: VersionTable, *, remote: bool, **settings: Any) -> World:
    """A world, which stands for a process, with this second level. Its wall clock is its clock."""
    world = World(**settings)
    clock = world.clock
    shelf = AsyncStore(backing, AtOnce(), clock, 0.1)
    cache = world.plugin.cache
    cache.second = SecondLevel(board, shelf, remote=remote, wall=clock.seconds)
    cache.databases = Databases(cache.second, clock, cache.beam.broadcast)
    return world


def on_disk(folder: Path, **settings: Any) -> World:
    """One of the workers that share a folder."""
    store = DiskStore(folder, 10 * 1024 * 1024, 1.0)
    return world_with(store, shared(folder / "board", os.urandom), remote=False, **settings)


def worker_of(world: World) -> AtOnce:
    """What does the second level's jobs."""
    worker = world.plugin.cache.second._shelf._worker  # type: ignore[union-attr]
    assert isinstance(worker, AtOnce)
    return worker


def in_redis(url: str, **settings: Any) -> World:
    """One of the processes that share a Redis; it hears of others' writes when the test says so."""
    return world_with(RemoteStore(url, os.urandom), VersionTable(os.urandom), remote=True, **settings)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis that has just been started."""
    program = shutil.which("redis-server")
    assert program is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        deadline = time.monotonic() + 10
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.02)
        client.close()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)
