"""The product of ways, things, outcomes and protocols, without what cannot be, as bytes to send."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .. import frames
from .things import BOSS, THINGS, Thing
from .ways import WAYS, Way


@dataclass(frozen=True)
class Outcome:
    """What becomes of the statement: what is sent before and behind it; `mark` is what its code does at its end."""

    name: str
    mark: str = ""
    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    gone: bool = False
    """The client hangs up without hearing how it ended."""


OUTCOMES = (
    Outcome("success"),
    Outcome("error", "!"),
    Outcome("cancel", "~"),
    Outcome("killed", "^"),
    Outcome("gone", "_", gone=True),
    Outcome("commit", before=("BEGIN",), behind=("COMMIT",)),
    Outcome("rollback", before=("BEGIN",), behind=("ROLLBACK",)),
    Outcome("failed block", "!", ("BEGIN",), ("COMMIT",)),
    Outcome("later error", before=("BEGIN",), behind=("SELECT 1/0", "ROLLBACK")),
    Outcome("later error commit", before=("BEGIN", "SELECT 1"), behind=("SELECT 1/0", "COMMIT")),
    Outcome("savepoint", before=("BEGIN", "SAVEPOINT s"), behind=("ROLLBACK TO s", "COMMIT")),
    Outcome("savepoint error", "!", ("BEGIN", "SAVEPOINT s"), ("ROLLBACK TO s", "COMMIT")),
    Outcome("chain", before=("BEGIN",), behind=("COMMIT AND CHAIN", "ROLLBACK")),
    Outcome("gone in a block", "", ("BEGIN",), ("SELECT 1",), gone=True),
)
PROTOCOLS = ("simple", "several", "unnamed", "named", "bound", "pipeline", "syncs", "planned", "parsed")
"""A Query each | all in one Query | Parse, Bind … Sync each | with names | with the thing as a value of Bind |
one Sync for all | a Sync each, all in one write | as unnamed, but the way's own text is not executed |
not even bound."""


@dataclass(frozen=True)
class Cell:
    """One combination."""

    way: Way
    thing: Thing
    outcome: Outcome
    protocol: str

    def __str__(self) -> str:
        return f"{self.way.name} × {self.thing.name} × {self.outcome.name} × {self.protocol}"

    @cached_property
    def number(self) -> int:
        """The same in every run, spread evenly."""
        return zlib.crc32(str(self).encode())

    @property
    def arg(self) -> str:
        """What the functions of the schema take."""
        return self.thing.name + self.outcome.mark

    def fill(self, text: str) -> str:
        """A text of the way with this cell's thing and mark in it."""
        if "{" not in text:
            return text
        thing = self.thing
        names = {"arg": self.arg, "thing": thing.name, "mark": self.outcome.mark}
        names |= {"code": thing.code, "sql": thing.sql, "text": thing.text}
        for name, value in names.items():
            text = text.replace("{" + name + "}", value)
        return text

    def requests(self, oid: int) -> list[tuple[bytes, int]]:
        """What is sent, one after the other, and how many ReadyForQuery each is answered with; `oid` is m.leave's."""
        if self.way.call:
            call = (frames.function_call(oid, self.arg.encode()), 1)
            return [*_simple(self.outcome.before), call, *_simple(self.outcome.behind)]
        texts = [*self.outcome.before, *self.way.texts, *self.outcome.behind]
        if self.protocol == "simple":
            return [(self._query(text), 1) for text in texts]
        if self.protocol == "several":
            return [(frames.query("; ".join(map(self.fill, texts))), 1)]
        parts = [self._extended(text, f"s{i}" if self.protocol == "named" else "") for i, text in enumerate(texts)]
        if self.protocol == "pipeline":
            return [(b"".join(parts) + frames.sync(), 1)]
        if self.protocol == "syncs":
            return [(b"".join(part + frames.sync() for part in parts), len(parts))]
        closing = b"".join(frames.close(f"s{i}") for i in range(len(texts))) if self.protocol == "named" else b""
        return [(part + frames.sync(), 1) for part in [*parts, *([closing] if closing else [])]]

    def _query(self, text: str) -> bytes:
        return frames.query(self.fill(text)) + self._rows(text)

    def _extended(self, text: str, name: str) -> bytes:
        if self.protocol == "bound" and "'{arg}'" in text:
            text, values = text.replace("'{arg}'", "$1"), [self.arg.encode()]
            return frames.extended(self.fill(text), *values, types=[25])
        if self.protocol == "planned" and text in self.way.texts:
            return frames.parse(self.fill(text)) + frames.bind()
        if self.protocol == "parsed" and text in self.way.texts:
            return frames.parse(self.fill(text))
        return frames.extended(self.fill(text), name=name) + self._rows(text)

    def _rows(self, text: str) -> bytes:
        if not (self.way.rows and text in self.way.texts):
            return b""
        return frames.copy_data(self.fill(self.way.rows).encode()) + frames.copy_done()


def _simple(texts: Sequence[str]) -> list[tuple[bytes, int]]:
    return [(frames.query(text), 1) for text in texts]


_BINDABLE = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "MERGE")
_AT_PLANNING = ("m.leave_immutable", "'{arg}'::", "::m.", "m.texts")
"""What PostgreSQL works out while it plans, or when it reads a constant."""


def possible(way: Way, thing: Thing, outcome: Outcome, protocol: str) -> bool:
    """Whether there is such a cell."""
    whole = "".join(way.texts)
    if way.block == "alone" and (outcome.before or protocol in ("several", "pipeline")):
        return False
    if way.block == "inside" and not outcome.before:
        return False
    if way.bypassed and thing.user == BOSS:
        return False
    if way.call and protocol != "simple":
        return False
    if protocol == "planned" and not (whole.startswith("SELECT") and any(word in whole for word in _AT_PLANNING)):
        return False
    if protocol == "parsed" and not way.read:
        return False
    if way.rows and protocol in ("several", "pipeline", "syncs"):
        return False
    if ("{sql}" in whole or way.builtin) and not thing.sql:
        return False
    if outcome.mark and not way.call and not way.rows and "{arg}" not in whole and "{mark}" not in whole:
        return False
    if protocol == "bound" and (whole.count("'{arg}'") != 1 or not whole.startswith(_BINDABLE)):
        return False
    if protocol == "several" and len(way.texts) + len(outcome.before) == 1:
        return False
    return not (way.name == "unparsable" and protocol in ("several", "pipeline"))


def product() -> Iterator[Cell]:
    """Every possible cell: far too many for one run, see `chosen`."""
    for way, thing, outcome, protocol in itertools.product(WAYS, THINGS, OUTCOMES, PROTOCOLS):
        if possible(way, thing, outcome, protocol):
            yield Cell(way, thing, outcome, protocol)


def chosen(share: int, seed: int = 0) -> list[Cell]:
    """One cell of each pair of a way and a thing, or of one in `share` of these pairs; another seed chooses others."""
    cells: list[Cell] = []
    for (way, thing), group in itertools.groupby(product(), lambda cell: (cell.way, cell.thing)):
        number = zlib.crc32(f"{way.name} {thing.name} {seed}".encode())
        if number % share == 0:
            cells.append(min(group, key=lambda cell: zlib.crc32(f"{cell} {seed}".encode())))
    return sorted(cells, key=lambda cell: (cell.way.apart, cell.thing.user))
