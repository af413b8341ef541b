"""What the console shows: tables with named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Table:
    """Rows of values under column names; None is NULL."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
