"""Remembered replies in this process, bounded by number and bytes (S3-FIFO: Yang and others, 2023).

A new reply waits in a short queue; only one that was asked for again before it reached the end of that moves to the
main one. Keys that fell out lately are remembered: when such a one comes back it goes to the main queue at once. So a
scan of queries that nobody repeats passes through the short queue and leaves the rest alone. Every step is O(1), and a
hit only counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from pgbeam_cache.storage.packing import Versions
from pgbeam_core import Answer

OVERHEAD = 700
"""Bytes that an entry takes beside its frames: objects, key, places in the queues. As measured."""

_SHORT = 10
"""The short queue gives way first while it has more than one in that many of the bytes or entries."""
_MOST_USES = 3


class Entry:
    """A reply, and what has to be known to serve it.

    born: when its query left for the server. write_place: the place in the sequence of writes before that. tables:
    names of the relations it was read from. versions: what the board showed for these before that. foreign: another
    process read it, so nobody knows what this one had written before.
    """

    __slots__ = (
        *("answer", "born", "foreign", "key", "main", "owner", "parts", "size", "tables", "until", "uses", "versions"),
        "write_place",
    )

    def __init__(
        self,
        key: bytes,
        answer: Answer,
        tables: tuple[str, ...],
        born: float,
        write_place: int,
        *,
        versions: Versions = (),
        foreign: bool = False,
    ) -> None:
        self.key = key
        self.answer = answer
        self.tables = tables
        self.born = born
        self.write_place = write_place
        self.versions = versions
        self.foreign = foreign
        self.until = born
        """When nobody who has asked so far would take it any more."""
        self.size = answer.size + OVERHEAD
        self.uses = 0
        self.main = False
        self.owner = ""
        """The project it was read for."""
        self.parts: tuple[bytes, bytes, bytes] | None = None
        """What its key is made of, where that is known; see `policy.keys.Parts`."""

    def useful_for(self, seconds: float) -> None:
        """Somebody would take it that long after its birth."""
        self.until = max(self.until, self.born + seconds)


class Store:
    """Entries by key. `dead` tells whether an entry can never be served again: such a one gives way at once."""

    def __init__(self, max_entries: int, max_bytes: int, dead: Callable[[Entry], bool]) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.evictions = 0
        self.bytes = 0
        self._dead = dead
        self._entries: dict[bytes, Entry] = {}
        self._short: OrderedDict[bytes, Entry] = OrderedDict()
        self._short_bytes = 0
        self._main: OrderedDict[bytes, Entry] = OrderedDict()
        self._ghosts: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, key: bytes) -> Entry | None:
        """The entry of a key. `used` tells that it was of use."""
        return self._entries.get(key)

    def used(self, entry: Entry) -> None:
        if entry.uses < _MOST_USES:
            entry.uses += 1

    def put(self, entry: Entry) -> None:
        """Remember it, in place of another of its key, as far as the bounds allow."""
        before = self._entries.get(entry.key)
        if before is not None:
            entry.uses = before.uses
            self._take(before)
        if entry.size > self.max_bytes:
            return
        entry.main = before.main if before is not None else self._returns(entry.key)
        while self._entries and (self.bytes + entry.size > self.max_bytes or len(self) >= self.max_entries):
            self._give_way()
        self._add(entry)

    def remove(self, entry: Entry) -> None:
        if self._entries.get(entry.key) is entry:
            self._take(entry)

    def drop(self, owner: str) -> None:
        """Forget what was read for a project."""
        for entry in [entry for entry in self._entries.values() if entry.owner == owner]:
            self._take(entry)

    def clear(self) -> None:
        for queue in (self._entries, self._short, self._main, self._ghosts):
            queue.clear()
        self.bytes = self._short_bytes = 0

    def _returns(self, key: bytes) -> bool:
        if key not in self._ghosts:
            return False
        del self._ghosts[key]
        return True

    def _add(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self.bytes += entry.size
        if entry.main:
            self._main[entry.key] = entry
        else:
            self._short[entry.key] = entry
            self._short_bytes += entry.size

    def _take(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self.bytes -= entry.size
        if entry.main:
            del self._main[entry.key]
        else:
            del self._short[entry.key]
            self._short_bytes -= entry.size

    def _give_way(self) -> None:
        """Look at the oldest entry of one queue: it goes, or it has earned another round."""
        long = self._short_bytes * _SHORT > self.max_bytes or len(self._short) * _SHORT > self.max_entries
        entry = next(iter((self._short if self._short and (long or not self._main) else self._main).values()))
        self._take(entry)
        if self._dead(entry):
            self.evictions += 1
        elif entry.uses:
            entry.uses = entry.uses - 1 if entry.main else 0
            entry.main = True
            self._add(entry)
        else:
            self.evictions += 1
            if not entry.main:
                self._remember(entry.key)

    def _remember(self, key: bytes) -> None:
        """The key of an entry that nobody asked for while it was here; as many as there are entries."""
        self._ghosts[key] = None
        while len(self._ghosts) > max(len(self._entries), 1):
            self._ghosts.popitem(last=False)
