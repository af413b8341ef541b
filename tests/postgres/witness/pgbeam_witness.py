"""A plugin for tests alone: `SHOW pgbeam.shared_turns` tells how many turns have been on a shared server so far.

Where it is loaded a read has to prove less, and may be slower, so that most plain reads of a test are shared, however
busy the machine is.
"""

from __future__ import annotations

from pgbeam_core import Query, Refusal, hookimpl, query

assert min(query.PROVED_BY, query.SHORT_S, query.SLOW_S) > 0
query.PROVED_BY = 0
query.SHORT_S = query.SLOW_S = 2.0


class Witness:
    """Counts them for the whole process."""

    def __init__(self) -> None:
        self._shared = 0

    @hookimpl
    def result(self, query: Query) -> None:
        """An execution has ended."""
        self._shared += query.facts.get("shared") == "true"

    @hookimpl
    def variable(self, name: str, value: str | None) -> str | Refusal | None:
        """pgbeam.shared_turns, which can only be read."""
        if name != "shared_turns":
            return None
        return str(self._shared) if value is None else Refusal("55P02", "it can only be read")


witness = Witness()
