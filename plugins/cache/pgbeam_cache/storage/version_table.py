"""The board: when which relation was last written, as all processes that share it see it.

It is a row of numbers. A relation of a database has its place by a hash, and so has each database as a whole, and all
databases of a project together. Whoever writes puts a number there that never was there before; whoever has read
compares what stood there before it asked. So there is no lock and no order, and two relations that fall on one place
cost a miss, never a wrong reply.

The workers of a host map one file (`shared`); then what one has written is seen by the others with the next look, which
costs a few memory reads. The file belongs to one boot of the machine: after a power cut, replies on disk might have
outlived the last numbers.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path

SLOTS = 65_536
_GENERATION = SLOTS
_NUMBERS = 1 << 64
_HEAD = 32
_BYTES = _HEAD + 8 * (SLOTS + 1)
_MAGIC = b"pgbeam board 1".ljust(_HEAD - 16)
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def slot(project: str, database: str | None, table: str | None) -> int:
    """The place of a relation by its bare name, of a whole database, or of all databases of a project."""
    name = repr((project, database, table)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=8).digest()) % SLOTS


class VersionTable:
    """A row of SLOTS numbers, in this process or shared. `random` gives that many unguessable bytes."""

    def __init__(self, random: Callable[[int], bytes], memory: mmap.mmap | None = None) -> None:
        # Each process counts on from a place of its own: no two of them meet in 64 bits.
        self._next = int.from_bytes(random(8))
        self._memory = memory
        whole = memoryview(bytearray(_BYTES) if memory is None else memory)
        self._numbers = whole[_HEAD:].cast("Q")
        if memory is None:
            self.wrote_everything()

    def versions(self, slots: tuple[int, ...]) -> tuple[int, ...]:
        numbers = self._numbers
        return (numbers[_GENERATION], *[numbers[place] for place in slots])

    def wrote(self, slots: Iterable[int]) -> None:
        """Relations with these places were written."""
        for place in slots:
            self._numbers[place] = self._new()

    def wrote_everything(self) -> None:
        """Nobody knows what was written: nothing from before holds."""
        self._numbers[_GENERATION] = self._new()

    def close(self) -> None:
        """Let go of the file."""
        if self._memory is not None:
            self._numbers.release()
            self._numbers = memoryview(bytearray(8 * (SLOTS + 1))).cast("Q")
            self._memory.close()
            self._memory = None

    def _new(self) -> int:
        self._next = (self._next + 1) % _NUMBERS
        return self._next


def shared(path: Path, random: Callable[[int], bytes]) -> VersionTable:
    """The board in a file that is made where there is none, or none of this boot. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for microseconds, by processes that start
        head = _MAGIC + _boot()
        fits = os.fstat(descriptor).st_size == _BYTES
        _allocate(descriptor)
        memory = mmap.mmap(descriptor, _BYTES)
        if not fits or memory[:_HEAD] != head:
            memory[_HEAD:] = bytes(_BYTES - _HEAD)
            VersionTable(random, memory).wrote_everything()
            memory[:_HEAD] = head
        return VersionTable(random, memory)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing would not do: the map has a duplicate of the descriptor
        os.close(descriptor)


def _allocate(descriptor: int) -> None:
    """Make it as long as it has to be, without holes: to write into one on a full disk would end the process."""
    status = os.fstat(descriptor)
    if status.st_size == _BYTES and status.st_blocks * 512 >= _BYTES:
        return
    os.ftruncate(descriptor, _BYTES)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, _BYTES)
    elif status.st_size != _BYTES and os.pwrite(descriptor, bytes(_BYTES), 0) < _BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _boot() -> bytes:
    """16 bytes that tell one boot of the machine from another; zeros where the system does not say."""
    try:
        return bytes.fromhex(_BOOT.read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)
