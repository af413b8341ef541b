"""Clients with mixed load, who connect again when their session was ended and note what came of what they did."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import psycopg

from .histories import DOCUMENTED, History, Register

TTL_S = SWR_S = 1
LAG_S = 2.0
"""The plugin's max_lag_s."""
REPLICA_S = 2 * LAG_S + 1.0
"""So old a replica's answer may be: its lag, and the time until that is found out."""
CACHED_S = TTL_S + SWR_S + REPLICA_S
_WORDS = ("upstream unavailable", "connection", "closed", "SSL SYSCALL", "EOF", "timeout expired")
"""libpq's own, where a login was refused or a connection lost: it has no SQLSTATE for them."""


class Client:
    """One of them. number: its own, unlike any other's."""

    def __init__(self, url: str, number: int, seed: int, history: History) -> None:
        self.url, self.number, self.history = url, number, history
        self.random = random.Random(seed * 1000 + number)
        self.serial = 0
        self.mine: list[int] = []
        """The last of what it has written and was told was committed."""
        self.register = history.registers[number] = Register()
        self._answered = time.monotonic()

    async def live(self, stop: asyncio.Event) -> None:
        """Do one thing after another."""
        while not stop.is_set():
            try:
                async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as client:
                    while not stop.is_set():
                        await self._act(client)
                        self.history.gaps.append(time.monotonic() - self._answered)
                        self._answered = time.monotonic()
                        await asyncio.sleep(self.random.random() * 0.1)
            except psycopg.OperationalError as error:
                self._failed(error)
                await asyncio.sleep(0.05)

    def _failed(self, error: psycopg.Error) -> None:
        state = error.sqlstate
        if state is None:
            state = next((code for code in DOCUMENTED if code in str(error)), None)
        if state is None and any(said in str(error) for said in _WORDS):
            state = "08006"
        self.history.errors[state or str(error)[:80]] += 1

    def _fresh(self) -> int:
        self.serial += 1
        return self.number * 1_000_000 + self.serial

    async def _act(self, client: Any) -> None:
        kinds = ["write", "pair", "lazy", "copy_in", "advance", "echo", "prepared", "replica", "cached", "plain", "own"]
        name = self.random.choice([*kinds, "copy_out", "advance", "cached", "notify"])
        try:
            await getattr(self, f"_{name}")(client)
            self.history.done[name] += 1
        except psycopg.InternalError as error:
            # A success that is followed by the end of the connection is one of these; no answer at all is a bug.
            if "results from command" not in str(error):
                self.history.wrong.append(f"client {self.number}, {name}: {error}")
            await client.close()
            raise psycopg.OperationalError("closed") from None
        except psycopg.OperationalError as error:
            self._failed(error)
            if client.closed:
                raise psycopg.OperationalError("closed") from None

    # Writes.

    async def _write(self, client: Any) -> None:
        one = self._fresh()
        self.history.was_sent([one])
        await client.execute("INSERT INTO journal VALUES (%s)", [one])
        self._was_committed(one)

    async def _pair(self, client: Any) -> None:
        pair = self._fresh(), self._fresh()
        self.history.failed.update(pair)
        async with client.transaction():
            for one in pair:
                await client.execute("INSERT INTO journal VALUES (%s, %s)", [one, pair[0]])
            self.history.was_sent(pair)
            self.history.pairs.append(pair)
        self._was_committed(*pair)

    async def _lazy(self, client: Any) -> None:
        """As frameworks do: a transaction that reads first."""
        one = self._fresh()
        self.history.failed.add(one)
        async with client.transaction():
            await client.execute("SELECT count(*) FROM categories")
            await client.execute("INSERT INTO journal VALUES (%s)", [one])
            self.history.was_sent([one])
        self._was_committed(one)

    async def _copy_in(self, client: Any) -> None:
        some = [self._fresh() for _ in range(3)]
        self.history.was_sent(some)
        async with client.cursor() as cursor, cursor.copy("COPY journal (id) FROM STDIN") as copy:
            for one in some:
                await copy.write_row([one])
        self._was_committed(*some)

    async def _advance(self, client: Any) -> None:
        version = self.register.next()
        # One that arrives late, from a connection that was lost, does not set it back.
        sql = "UPDATE registers SET version = greatest(version, %s) WHERE id = %s"
        await client.execute(sql, [version, self.number])
        self.register.confirmed(version, time.monotonic())

    def _was_committed(self, *some: int) -> None:
        self.history.was_committed(some)
        self.mine = [*self.mine, *some][-20:]

    # Reads.

    async def _echo(self, client: Any) -> None:
        await self._says(client, "SELECT %s::text FROM categories WHERE id = 1")

    async def _prepared(self, client: Any) -> None:
        await self._says(client, "SELECT %s::text || '' FROM categories WHERE id = 2", prepare=True)

    async def _replica(self, client: Any) -> None:
        await self._says(client, "/* @pgbeam:replica */ SELECT %s::text FROM categories WHERE id = 1")

    async def _says(self, client: Any, sql: str, **more: Any) -> None:
        word = f"{self.number}/{self._fresh()}"
        found = await (await client.execute(sql, [word], **more)).fetchall()
        self.history.expect(sql, found, [(word,)])

    async def _cached(self, client: Any) -> None:
        await self._look(client, f"/* @pgbeam:cache maxAge={TTL_S} swr={SWR_S} */ SELECT", CACHED_S)

    async def _plain(self, client: Any) -> None:
        await self._look(client, "SELECT", REPLICA_S)

    async def _look(self, client: Any, select: str, may_be_old: float) -> None:
        number = self.random.choice(list(self.history.registers)[:10])
        asked = time.monotonic()
        row = await (await client.execute(f"{select} version FROM registers WHERE id = %s", [number])).fetchone()
        self.history.was_read(number, row[0], asked, may_be_old)

    async def _own(self, client: Any) -> None:
        """It sees what it has written in this session, wherever it reads."""
        one = self._fresh()
        self.history.was_sent([one])
        await client.execute("INSERT INTO journal VALUES (%s)", [one])
        self._was_committed(one)
        found = await (await client.execute("SELECT id FROM journal WHERE id = %s", [one])).fetchall()
        self.history.expect("its own write", found, [(one,)])

    async def _copy_out(self, client: Any) -> None:
        first, last = self.number * 1_000_000, (self.number + 1) * 1_000_000
        wanted = list(self.mine)
        async with client.cursor() as cursor:
            sql = f"COPY (SELECT id FROM journal WHERE id BETWEEN {first} AND {last - 1}) TO STDOUT"
            try:
                async with cursor.copy(sql) as copy:
                    rows = [int(row[0]) async for row in copy.rows()]
            except psycopg.ProgrammingError:  # the connection broke off behind the last row
                await client.close()
                raise psycopg.OperationalError("connection closed") from None
        self.history.expect("COPY of its own", [one for one in wanted if one not in rows], [])
        self.history.expect("COPY of others'", [one for one in rows if not first <= one < last], [])

    async def _notify(self, client: Any) -> None:
        word = f"n{self._fresh()}"
        await client.execute(f"LISTEN c{self.number}")
        await client.execute(f"NOTIFY c{self.number}, '{word}'")
        found = [told.payload async for told in client.notifies(timeout=5, stop_after=1)]
        self.history.expect("NOTIFY", found, [word])
        await client.execute("UNLISTEN *")


async def live(clients: list[Client], stop: asyncio.Event) -> None:
    """All of them, until told to stop; whoever does not come to an end in time is a client that hangs."""
    tasks = [asyncio.create_task(client.live(stop)) for client in clients]
    await stop.wait()
    _, pending = await asyncio.wait(tasks, timeout=40)
    for task in pending:
        task.cancel()
    assert not pending, f"{len(pending)} clients hang"
    for task in tasks:
        task.result()
