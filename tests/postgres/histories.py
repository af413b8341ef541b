"""Clients that note what they did and what came of it, and the checker of what they have noted."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg

DOCUMENTED = {"08006", "57P01", "57P02", "57P03", "53300"}
"""What a client may be told when servers die, by docs/errors.md and docs/resilience.md."""
SCHEMA = "CREATE TABLE journal (id bigint NOT NULL, pair bigint); GRANT ALL ON journal TO app"


@dataclass
class History:
    """What all clients have done."""

    committed: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    """Sent, and nobody was told what came of it."""
    failed: set[int] = field(default_factory=set)
    """Of transactions that never got to COMMIT."""
    pairs: list[tuple[int, int]] = field(default_factory=list)
    """Written by one transaction."""
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    """Seconds between two answers that one client got."""

    def check(self, rows: list[int]) -> None:
        """Compare with what is in the table in the end."""
        counted = Counter(rows)
        there = set(counted)
        assert not self.wrong, self.wrong[:5]
        assert not (lost := self.committed - there), f"committed and not there: {sorted(lost)[:5]} of {len(lost)}"
        assert not (twice := [one for one, times in counted.items() if times > 1]), f"there twice: {twice[:5]}"
        assert not (more := there - self.committed - self.unknown), f"never written: {sorted(more)[:5]}"
        torn = [pair for pair in self.pairs if (pair[0] in there) is not (pair[1] in there)]
        assert not torn, f"half a transaction: {torn[:5]}"
        assert set(self.errors) <= DOCUMENTED, self.errors


class Writer:
    """One client: connects again when its session was ended. number: its own, unlike any other's."""

    def __init__(self, url: str, number: int, seed: int, history: History) -> None:
        self.url, self.number, self.history = url, number, history
        self.random = random.Random(seed * 1000 + number)
        self.serial = 0
        self.mine: int | None = None
        """Something that it has written, and was told was committed."""
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
                        await asyncio.sleep(self.random.random() * 0.02)
            except psycopg.OperationalError as error:
                self._failed(error)
                await asyncio.sleep(0.02)

    def _failed(self, error: psycopg.Error) -> None:
        state = error.sqlstate
        if state is None:  # libpq has words of its own where a login was refused, or a connection closed
            state = next((code for code in DOCUMENTED if code in str(error)), None)
        if state is None and any(said in str(error) for said in ("upstream unavailable", "connection", "closed")):
            state = "08006"
        self.history.errors[state or str(error)[:80]] += 1

    def _fresh(self) -> int:
        self.serial += 1
        return self.number * 1_000_000 + self.serial

    async def _act(self, client: Any) -> None:
        name = self.random.choice(["write", "write", "pair", "echo", "own", "replica", "copy", "lazy"])
        try:
            await getattr(self, f"_{name}")(client)
            self.history.done[name] += 1
        except psycopg.OperationalError as error:
            self._failed(error)
            if client.closed:
                raise psycopg.OperationalError("closed") from None

    async def _write(self, client: Any) -> None:
        one = self._fresh()
        self.history.unknown.add(one)
        await client.execute("INSERT INTO journal VALUES (%s)", [one])
        self._was_committed(one)

    async def _pair(self, client: Any) -> None:
        pair = self._fresh(), self._fresh()
        self.history.failed.update(pair)
        async with client.transaction():
            for one in pair:
                await client.execute("INSERT INTO journal VALUES (%s, %s)", [one, pair[0]])
            self.history.failed.difference_update(pair)
            self.history.unknown.update(pair)
            self.history.pairs.append(pair)
        self._was_committed(*pair)

    async def _lazy(self, client: Any) -> None:
        """As frameworks do: a transaction that reads first."""
        one = self._fresh()
        self.history.failed.add(one)
        async with client.transaction():
            await client.execute("SELECT count(*) FROM categories")
            await client.execute("INSERT INTO journal VALUES (%s)", [one])
            self.history.failed.discard(one)
            self.history.unknown.add(one)
        self._was_committed(one)

    async def _copy(self, client: Any) -> None:
        some = [self._fresh() for _ in range(3)]
        self.history.unknown.update(some)
        async with client.cursor() as cursor, cursor.copy("COPY journal (id) FROM STDIN") as copy:
            for one in some:
                await copy.write_row([one])
        self._was_committed(*some)

    async def _echo(self, client: Any) -> None:
        word = f"{self.number}/{self._fresh()}"
        await self._expect(client, "SELECT %s::text FROM categories WHERE id = 1", word, word)

    async def _replica(self, client: Any) -> None:
        word = f"{self.number}/{self._fresh()}"
        sql = "/* @pgbeam:replica */ SELECT %s::text FROM categories WHERE id = 1"
        await self._expect(client, sql, word, word)

    async def _own(self, client: Any) -> None:
        """It sees what it has written, wherever it reads."""
        if self.mine is not None:
            await self._expect(client, "SELECT id FROM journal WHERE id = %s", self.mine, self.mine)

    async def _expect(self, client: Any, sql: str, value: Any, expected: Any) -> None:
        found = await (await client.execute(sql, [value])).fetchall()
        if found != [(expected,)]:
            self.history.wrong.append(f"{sql} with {value} gave {found}")

    def _was_committed(self, *some: int) -> None:
        self.history.unknown.difference_update(some)
        self.history.committed.update(some)
        self.mine = some[0]


async def live(writers: list[Writer], stop: asyncio.Event) -> None:
    """All of them, until told to stop; whoever does not come to an end in time is a client that hangs."""
    tasks = [asyncio.create_task(writer.live(stop)) for writer in writers]
    await stop.wait()
    _, pending = await asyncio.wait(tasks, timeout=30)
    for task in pending:
        task.cancel()
    assert not pending, f"{len(pending)} clients hang"
    for task in tasks:
        task.result()
