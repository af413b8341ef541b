"""What the console shows: tables with named columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True)
class Table:
    """Rows of values under column names; None is NULL.

    types: PostgreSQL's name for the type of each column: text, int4, int8, float8, numeric or bool; without them
    columns have the types of their values. With several workers the rows of all are shown: those that are equal in the
    columns of `key` are made one, or without a key those that are equal altogether. In such a row numbers are added up,
    of anything else the first that is not None stands; `merge` says max, min or first for a column where that is wrong,
    or `mean calls` for one that is an average over the column `calls`.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    types: Sequence[str] = ()
    key: Sequence[str] = ()
    merge: Mapping[str, str] = field(default_factory=dict)
