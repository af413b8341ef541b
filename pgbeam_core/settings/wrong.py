"""Collects what is wrong, so that all of it is told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgbeam_core.errors import SettingsError


class Wrong:
    """The errors of one table."""

    def __init__(self) -> None:
        self._errors: list[SettingsError] = []

    def add(self, error: SettingsError) -> None:
        """One more, or all that it stands for."""
        self._errors += error.each

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Go on behind a SettingsError, and remember it."""
        try:
            yield
        except SettingsError as error:
            self.add(error)

    def tell(self) -> None:
        """Raise what was collected, if anything was."""
        if self._errors:
            raise SettingsError.of(self._errors)
