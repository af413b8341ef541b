"""What clients did and what came of it, and the checker of that: it finds what no bad day excuses."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

DOCUMENTED = {"08006", "57P01", "57P02", "57P03", "53300"}
"""What a client may be told when servers die, by docs/errors.md and docs/resilience.md."""
SCHEMA = """
CREATE TABLE journal (id bigint NOT NULL, pair bigint);
CREATE INDEX ON journal (id);
CREATE TABLE registers (id int PRIMARY KEY, version bigint NOT NULL);
INSERT INTO registers SELECT i, 0 FROM generate_series(1, 1000) i;
GRANT ALL ON journal, registers TO app;
"""
SLACK_S = 2.0
"""Between what happens and when a client of a machine with much to do has noted it."""


class Register:
    """A row that one client writes and all read: its versions only grow."""

    def __init__(self) -> None:
        self.attempted = 0
        self._times: list[float] = []
        self._versions: list[int] = []

    def next(self) -> int:
        """The version that is written now."""
        self.attempted += 1
        return self.attempted

    def confirmed(self, version: int, now: float) -> None:
        """The server has said that this one is committed."""
        self._times.append(now)
        self._versions.append(version)

    def at(self, moment: float) -> int:
        """The version that was confirmed by that moment."""
        index = bisect.bisect_right(self._times, moment)
        return self._versions[index - 1] if index else 0


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
    registers: dict[int, Register] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=lambda: [0.0])
    """Seconds between two answers that one client got."""
    fenced: list[set[int]] = field(default_factory=list)
    """What reached an old primary after it was known for one."""

    def expect(self, what: str, found: object, expected: object) -> None:
        """An answer that can only be one."""
        if found != expected:
            self.wrong.append(f"{what} gave {found}, not {expected}")

    def was_read(self, number: int, version: int, asked: float, may_be_old: float) -> None:
        """A register was read, by a question of that moment, where answers may be so old."""
        register = self.registers[number]
        oldest = register.at(asked - may_be_old - SLACK_S)
        if version < oldest:
            self.wrong.append(f"register {number} was read as {version}, and was {oldest} {may_be_old} s before")
        if version > register.attempted:
            self.wrong.append(f"register {number} was read as {version}, and only {register.attempted} were written")

    def was_sent(self, some: Iterable[int]) -> None:
        """From now on nobody knows what comes of these, until the server says so."""
        self.failed.difference_update(some)
        self.unknown.update(some)

    def was_committed(self, some: Iterable[int]) -> None:
        """The server has said so."""
        self.unknown.difference_update(some)
        self.committed.update(some)

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
        assert not any(self.fenced), f"written to an old primary: {[sorted(some)[:5] for some in self.fenced if some]}"
        assert set(self.errors) <= DOCUMENTED, self.errors
