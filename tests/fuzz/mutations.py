"""Mutates conversations. All chance comes from the Random that is given, so a case can be had again."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from tests.fuzz.material import Messages

Mutation = Callable[[Random, Messages, list[Messages]], None]
_LENGTHS = (0, 1, 3, 4, 5, 8, 255, 65535, 1 << 20, (1 << 30) - 1, (1 << 31) - 1, -1, -(1 << 31))


def mutated(rng: Random, conversation: Messages, others: list[Messages]) -> bytes:
    """The bytes of a conversation after one to four mutations; parts of others may have got into it."""
    messages = list(conversation)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if messages:
            rng.choice(MUTATIONS)(rng, messages, others)
            messages = [message for message in messages if message]
    data = b"".join(messages)
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data


def pieces(rng: Random, data: bytes) -> list[bytes]:
    """The bytes as they may arrive: whole, in a few pieces, now and then byte by byte."""
    if rng.random() < 0.5 or not data:
        return [data]
    if len(data) < 200 and rng.random() < 0.2:
        return [data[place : place + 1] for place in range(len(data))]
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.randint(1, 5)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _flip(rng: Random, messages: Messages, _: list[Messages]) -> None:
    place = rng.randrange(len(messages))
    changed = bytearray(messages[place])
    for _i in range(rng.choice((1, 1, 3))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    messages[place] = bytes(changed)


def _cut(rng: Random, messages: Messages, _: list[Messages]) -> None:
    """Shorter than its length says."""
    place = rng.randrange(len(messages))
    messages[place] = messages[place][: rng.randrange(len(messages[place]) + 1)]


def _shorten(rng: Random, messages: Messages, _: list[Messages]) -> None:
    """Shorter, and its length says so."""
    place = rng.randrange(len(messages))
    body = messages[place][5:]
    messages[place] = _framed(messages[place][:1], body[: rng.randrange(len(body) + 1)])


def _lengthen(rng: Random, messages: Messages, _: list[Messages]) -> None:
    place = rng.randrange(len(messages))
    messages[place] = _framed(messages[place][:1], messages[place][5:] + rng.randbytes(rng.randint(1, 40)))


def _length(rng: Random, messages: Messages, _: list[Messages]) -> None:
    """Its length is a lie."""
    place = rng.randrange(len(messages))
    said = rng.choice((*_LENGTHS, len(messages[place]) - 2, len(messages[place])))
    messages[place] = messages[place][:1] + struct.pack("!i", said) + messages[place][5:]


def _repeat(rng: Random, messages: Messages, _: list[Messages]) -> None:
    place = rng.randrange(len(messages))
    messages[place:place] = [messages[place]] * rng.choice((1, 1, 2, 20))


def _swap(rng: Random, messages: Messages, _: list[Messages]) -> None:
    one, other = rng.randrange(len(messages)), rng.randrange(len(messages))
    messages[one], messages[other] = messages[other], messages[one]


def _drop(rng: Random, messages: Messages, _: list[Messages]) -> None:
    del messages[rng.randrange(len(messages))]


def _insert(rng: Random, messages: Messages, others: list[Messages]) -> None:
    """A message of another conversation."""
    other = rng.choice(others)
    if other:
        messages.insert(rng.randrange(len(messages) + 1), rng.choice(other))


def _interleave(rng: Random, messages: Messages, others: list[Messages]) -> None:
    """With another conversation."""
    for message in rng.choice(others)[:10]:
        messages.insert(rng.randrange(len(messages) + 1), message)


def _tag(rng: Random, messages: Messages, _: list[Messages]) -> None:
    """Another kind of message, or none that there is."""
    place = rng.randrange(len(messages))
    tag = rng.choice(b"QPBDECSHFdcfXpZTKRNAG\0\xff")
    messages[place] = bytes([tag]) + messages[place][1:]


def _number(rng: Random, messages: Messages, _: list[Messages]) -> None:
    """A count or a size within the message is a lie."""
    place = rng.randrange(len(messages))
    body = bytearray(messages[place][5:])
    if len(body) > 2:
        at = rng.randrange(len(body) - 1)
        body[at : at + 2] = struct.pack("!H", rng.choice((0, 1, 0x7FFF, 0xFFFF)))
        messages[place] = _framed(messages[place][:1], bytes(body))


def _garbage(rng: Random, messages: Messages, _: list[Messages]) -> None:
    messages.insert(rng.randrange(len(messages) + 1), rng.randbytes(rng.randint(1, 60)))


def _framed(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("!i", len(body) + 4) + body


MUTATIONS: tuple[Mutation, ...] = (
    _flip, _cut, _shorten, _lengthen, _length, _repeat, _swap, _drop, _insert, _interleave, _tag, _number, _garbage,
)  # fmt: skip
