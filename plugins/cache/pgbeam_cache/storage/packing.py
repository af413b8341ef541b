"""How a reply is written for the second level: magic, version, checksum, and plain fields. Nothing in it is code.

After the magic (6 bytes), the version (1) and the checksum (16, over the key and all that follows) come: when its
query left (seconds since 1970, a double), the number of versions (2), the versions (8 each), the lengths of description
(4, -1 for none), rows (4) and completion (4), and these three. Everything is big-endian.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import NamedTuple

from pgbeam_core import Answer

MAGIC = b"pgbeam"
VERSION = 1
_HEAD = len(MAGIC) + 1
_CHECKSUM = 16
_FIXED = struct.Struct(">dH")
_LENGTHS = struct.Struct(">iii")

Versions = tuple[int, ...]
"""What the board showed for the relations of a reply before its query left: unequal to now means written since."""


class Corrupt(ValueError):
    """These bytes are no packed reply, or not that of this key."""


class Packed(NamedTuple):
    """A reply, when its query left by the wall clock, and the versions from before that."""

    answer: Answer
    born: float
    versions: Versions


def pack(key: bytes, packed: Packed) -> bytes:
    """The bytes for a reply to the request with that key."""
    answer = packed.answer
    description = answer.description
    body = b"".join(
        [
            _FIXED.pack(packed.born, len(packed.versions)),
            struct.pack(f">{len(packed.versions)}Q", *packed.versions),
            _LENGTHS.pack(-1 if description is None else len(description), len(answer.rows), len(answer.complete)),
            description or b"",
            answer.rows,
            answer.complete,
        ]
    )
    return MAGIC + bytes([VERSION]) + _checksum(key, body) + body


def unpack(key: bytes, data: bytes) -> Packed | None:
    """The reply in these bytes; None if they are of another version. Raises Corrupt."""
    if data[: len(MAGIC)] != MAGIC or len(data) == len(MAGIC):
        raise Corrupt("no magic")
    if data[len(MAGIC) : _HEAD] != bytes([VERSION]):
        return None
    body = data[_HEAD + _CHECKSUM :]
    if data[_HEAD : _HEAD + _CHECKSUM] != _checksum(key, body):
        raise Corrupt("checksum does not hold")
    try:
        return _fields(body)
    except struct.error as error:
        raise Corrupt("too short") from error


def _fields(body: bytes) -> Packed:
    born, count = _FIXED.unpack_from(body)
    place = _FIXED.size
    versions = struct.unpack_from(f">{count}Q", body, place)
    place += 8 * count
    described, rows, complete = _LENGTHS.unpack_from(body, place)
    place += _LENGTHS.size
    if place + max(described, 0) + rows + complete != len(body):
        raise Corrupt("lengths do not add up")
    description = None if described < 0 else body[place : place + described]
    place += max(described, 0)
    return Packed(Answer(description, body[place : place + rows], body[place + rows :]), born, versions)


def _checksum(key: bytes, body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECKSUM, key=key).digest()
