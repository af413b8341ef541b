"""The second level in Redis or Valkey, for several hosts: replies, and the board's numbers beside them.

Through the blocking client in threads of its own: so it runs under any reactor, and a socket that hangs holds up a
thread that nobody waits for longer than `l2_timeout_s`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from pgbeam_cache.storage.packing import VERSION, Versions

PREFIX = f"pgbeam:{VERSION}:".encode()
CHANNEL = PREFIX + b"wrote"
_PAUSE = 1.0
_SOCKET_TIMEOUT = 5.0


class RemoteStore:
    """See `async_store.Backing`. All calls come from one thread, so a write is there before what is asked after it."""

    def __init__(self, url: str, random: Callable[[int], bytes]) -> None:
        self._url = url
        self._random = random
        self._client: Any = None
        self._owed: set[int] = set()
        """Places whose writes Redis has not taken yet."""

    def get(self, key: bytes, slots: tuple[int, ...]) -> tuple[bytes | None, Versions]:
        """The bytes kept under a key, and the numbers of the places, read in one go."""
        client = self._connected()
        names = [_place(slot) for slot in slots]
        found, *numbers = client.mget(PREFIX + b"r:" + key, *names)
        missing = [name for name, number in zip(names, numbers, strict=True) if number is None]
        if missing:
            # Redis may have dropped it with a write that replies still rest on: a number that never was there.
            with client.pipeline(transaction=False) as pipeline:
                for name in missing:
                    pipeline.set(name, self._random(8), nx=True)
                pipeline.mget(*names)
                numbers = pipeline.execute()[-1]
        return found, tuple(int.from_bytes(number or self._random(8)) for number in numbers)

    def put(self, key: bytes, data: bytes, seconds: float) -> None:
        self._connected().set(PREFIX + b"r:" + key, data, px=max(1, int(seconds * 1000)))

    def wrote(self, slots: tuple[int, ...]) -> None:
        """Tell all that relations with these places were written, now or as soon as Redis is there again."""
        self._owed.update(slots)
        self._connected()

    def recover(self, error: Exception) -> None:
        """After an error: connect anew."""
        self.close()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> Any:
        if self._client is None:
            self._client = connect(self._url)
        if self._owed:
            told = sorted(self._owed)
            with self._client.pipeline(transaction=True) as pipeline:
                for slot in told:
                    pipeline.set(_place(slot), self._random(8))
                pipeline.publish(CHANNEL, b" ".join(b"%d" % slot for slot in told))
                pipeline.execute()
            self._owed.clear()
        return self._client


class Listener:
    """Hears in a thread of its own what other processes wrote. After each gap `missed` is called.

    `heard` and `missed` are called in that thread.
    """

    def __init__(self, url: str, heard: Callable[[tuple[int, ...]], None], missed: Callable[[], None]) -> None:
        self._url = url
        self._heard = heard
        self._missed = missed
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pgbeam-cache-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop within a second or so; nobody has to wait for it."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(Exception):  # whoever asks Redis for replies says what is wrong with it
                self._listen()
            self._over.wait(_PAUSE)

    def _listen(self) -> None:
        client = connect(self._url)
        try:
            channel = client.pubsub()
            channel.subscribe(CHANNEL)
            checked = time.monotonic()
            while not self._over.is_set():
                message = channel.get_message(timeout=_PAUSE)
                if message is not None and message["type"] == "subscribe":
                    self._missed()
                elif message is not None and message["type"] == "message":
                    self._heard(tuple(int(slot) for slot in message["data"].split()))
                if time.monotonic() - checked > _SOCKET_TIMEOUT:
                    checked = time.monotonic()
                    channel.ping()
        finally:
            client.close()


def connect(url: str) -> Any:
    """A client that connects when it is first used."""
    import redis

    return redis.Redis.from_url(url, socket_timeout=_SOCKET_TIMEOUT, socket_connect_timeout=_SOCKET_TIMEOUT)


def _place(slot: int) -> bytes:
    return PREFIX + b"w:%d" % slot
