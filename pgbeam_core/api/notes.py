"""What plugins remember: typed names for what they keep in the `notes` of sessions, statements and queries."""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Noted(Protocol):
    """A Session, a Statement or a Query."""

    notes: dict[str, Any]


class Note(Generic[T]):
    """One value in `notes`: a name, which begins with that of its plugin, and a type.

    `FORGOT = Note[bool]("seatbelt")`, then `FORGOT.put(statement, True)` and `FORGOT.of(query.statement)`. It is the
    same as `statement.notes["seatbelt"]`, and type checkers know what comes out.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def put(self, noted: Noted, value: T) -> T:
        """Keep it; gives it back."""
        noted.notes[self.name] = value
        return value

    def of(self, noted: Noted) -> T | None:
        """What was kept; None if nothing was."""
        value: T | None = noted.notes.get(self.name)
        return value

    def take(self, noted: Noted) -> T | None:
        """What was kept, and is not kept any more."""
        value: T | None = noted.notes.pop(self.name, None)
        return value
