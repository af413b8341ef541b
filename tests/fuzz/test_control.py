"""What is asked over the control socket may be anything that JSON can hold."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.fuzz.stage import FIRST, Scene

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    2**70,
    "",
    "x",
    "\ud800",
    "0" * 16,
    "a" * 10_000,
    [],
    {},
    [[]],
    {"a": 1},
]
KEYS = ("query_hash", "enabled", "ttl", "swr", "name", "value", "panels", "what", "")


def test_odd_requests_are_refused() -> None:
    """Each gets a reply, an error that says why or a result; none ends in a failure that only the log explains."""
    scene = Scene()
    control = scene.rehearsal.beam.control
    names = [*control.names(), "no.such"]
    for number in range(FIRST, FIRST + 1000):
        rng = Random(number)
        request: dict[str, Any] = {key: rng.choice(ODD) for key in rng.sample(KEYS, rng.randint(0, 4))}
        request["ask"] = rng.choice(names) if rng.random() < 0.9 else rng.choice(ODD)
        replies: list[dict[str, Any]] = []
        control.ask(request).addCallback(replies.append)
        for reply in replies:  # what a thread has to find out comes later
            assert reply["ok"] or reply["sqlstate"] != "XX000", (number, request, reply)
    scene.ask_honestly()
    scene.close()
