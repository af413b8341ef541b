"""Bytes of a terminal → keys by name."""

from __future__ import annotations

_NAMED = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[Z": "back tab",
    "\x1b": "escape",
    "\t": "tab",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
}


def keys(text: str) -> list[str]:
    """The keys that were pressed. An escape sequence that is none of these is left out, whole."""
    found: list[str] = []
    place = 0
    while place < len(text):
        end = _end_of_sequence(text, place)
        piece = text[place:end]
        named = _NAMED.get(piece)
        if named is not None:
            found.append(named)
        elif len(piece) == 1:
            found.append(piece)
        place = end
    return found


def _end_of_sequence(text: str, place: int) -> int:
    """Behind the key or the escape sequence that begins there."""
    if text[place] != "\x1b" or place + 1 >= len(text) or text[place + 1] not in "[O":
        return place + 1
    end = place + 2
    while end < len(text) and not ("@" <= text[end] <= "~"):
        end += 1
    return min(end + 1, len(text))
