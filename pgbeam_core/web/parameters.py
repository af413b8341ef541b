"""What stands behind the question mark of an address, checked."""

from __future__ import annotations

from collections.abc import Collection

from pgbeam_core.web.replies import HttpRequest, Refused

LONGEST_WORD = 200


def only(request: HttpRequest, *known: str) -> None:
    """Raises Refused for a parameter that nobody knows: a slip of the pen must not be taken for everything."""
    for name in request.query:
        if name not in known:
            there = f"There are {', '.join(known)}." if known else "There are none."
            raise Refused(400, f'there is no parameter "{name[:50]}"', there)


def whole_number(request: HttpRequest, name: str, default: int, *, least: int, most: int = 2**53) -> int:
    given = request.query.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 17) or not least <= int(given) <= most:
        raise Refused(400, f"{name} is a whole number from {least} to {most}")
    return int(given)


def word(request: HttpRequest, name: str, choices: Collection[str] = ()) -> str | None:
    """One of the choices, if there are any; None if it is not given, or empty."""
    given = request.query.get(name) or None
    if given is not None and choices and given not in choices:
        raise Refused(400, f"{name} is one of {', '.join(choices)}")
    if given is not None and len(given) > LONGEST_WORD:
        raise Refused(400, f"{name} has at most {LONGEST_WORD} characters")
    return given
