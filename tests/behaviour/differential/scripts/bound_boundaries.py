"""BEGIN, SAVEPOINT, COMMIT and the like in Parse and Bind that say more, less or other than these need.

The bounds of a transaction that is kept back are PgBeam's to answer, but only where a server would do as they say.
"""

from __future__ import annotations

from ... import frames
from ..dsl import Script, Step, ask, conversation, say

_TEXT, _INT4 = 25, 23
BINDS: dict[str, tuple[bytes, list[int]]] = {
    "two values": (frames.bind(b"1", b"2"), []),
    "one value, one format": (frames.bind(b"1", formats=[0]), []),
    "one format": (frames.bind(formats=[1]), []),
    "two formats": (frames.bind(formats=[0, 0]), []),
    "two result formats": (frames.bind(results=[0, 1]), []),
    "a declared parameter, no value": (frames.bind(), [_INT4]),
    "a declared parameter and its value": (frames.bind(b"1"), [_TEXT]),
    "cut off": (frames.frame(b"B", frames.bind()[5:-2]), []),
    "longer than it says": (frames.frame(b"B", frames.bind()[5:] + b"\0\0"), []),
}
PRODUCT = "SELECT name FROM products WHERE id = 7"


def _bounds(before: list[Step], text: str, bind: bytes, types: list[int]) -> list[Step]:
    request = frames.parse(text, types=types) + bind + frames.describe() + frames.execute() + frames.sync()
    again = bind + frames.execute() + frames.sync()
    return [*before, say(request), ask(PRODUCT), ask("ROLLBACK"), *before, say(again), ask(PRODUCT), ask("ROLLBACK")]


def _register(number: int, kind: str, text: str, before: list[Step]) -> None:
    bind, types = BINDS[kind]

    def script() -> Script:
        for step in _bounds(before, text, bind, types):  # noqa: UP028 -- what `yield from` is given has to take what is sent
            yield step

    script.__name__ = f"bound_{text.split(maxsplit=1)[0].lower()}_{number}"
    script.__doc__ = f"{text} with {kind} is what it is direct."
    conversation(interleaves=False)(script)


for _number, _kind in enumerate(BINDS):
    for _text, _before in (
        ("BEGIN READ ONLY", []),
        ("SAVEPOINT a", [ask("BEGIN"), ask(PRODUCT)]),
        ("ROLLBACK TO a", [ask("BEGIN"), ask("SAVEPOINT a")]),
        ("COMMIT", [ask("BEGIN"), ask(PRODUCT)]),
    ):
        _register(_number, _kind, _text, _before)
