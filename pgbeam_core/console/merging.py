"""One table of those of several workers, and tables as JSON has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pgbeam_core.api.console import Table

Tables = dict[str, Table]
_MEAN = "mean "


def as_json(tables: Mapping[str, Table]) -> dict[str, Any]:
    """Tables as they travel between processes, and as they are given to who asks over the control socket."""
    return {
        name: {
            "columns": list(table.columns),
            "rows": [list(row) for row in table.rows],
            "types": list(table.types),
            "key": list(table.key),
            "merge": dict(table.merge),
        }
        for name, table in tables.items()
    }


def from_json(found: Mapping[str, Any]) -> Tables:
    return {name: Table(**table) for name, table in found.items()}


def merged(parts: Sequence[Tables]) -> Tables:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: one([part[name] for part in parts if name in part]) for name in names}


def one(tables: Sequence[Table]) -> Table:
    """The rows of all; those that are equal in the columns of the key are one, or those equal in all without a key."""
    first = tables[0]
    if len(tables) == 1:
        return first
    tables = [table for table in tables if list(table.columns) == list(first.columns)]
    columns = list(first.columns)
    places = [columns.index(name) for name in first.key if name in columns] or range(len(columns))
    groups: dict[tuple[object, ...], list[Sequence[object]]] = {}
    for table in tables:
        for row in table.rows:
            groups.setdefault(tuple(_hashable(row[place]) for place in places), []).append(row)
    rows = [_row(columns, set(places), first.merge, group) for group in groups.values()]
    return Table(columns, rows, first.types, first.key, first.merge)


def _row(
    columns: Sequence[str], fixed: set[int], how: Mapping[str, str], rows: Sequence[Sequence[object]]
) -> Sequence[object]:
    if len(rows) == 1:
        return rows[0]
    made: list[object] = []
    for place, name in enumerate(columns):
        rule = how.get(name, "")
        if place in fixed:
            made.append(rows[0][place])
        elif rule.startswith(_MEAN) and rule.removeprefix(_MEAN) in columns:
            weights = columns.index(rule.removeprefix(_MEAN))
            made.append(_mean([(row[place], row[weights]) for row in rows]))
        else:
            made.append(_value(rule, [row[place] for row in rows]))
    return made


def _mean(pairs: Iterable[tuple[Any, Any]]) -> object:
    """An average of averages, by what each of them is over; whole where they all are."""
    known = [(value, weight) for value, weight in pairs if value is not None and weight]
    if not known:
        return None
    mean = sum(value * weight for value, weight in known) / sum(weight for _, weight in known)
    return round(mean) if all(isinstance(value, int) for value, _ in known) else round(mean, 3)


def _value(how: str, values: Iterable[Any]) -> object:
    """Of a number the sum, of anything else the first that is known; or as the table says."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if how == "max":
        return max(known)
    if how == "min":
        return min(known)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    return sum(known) if numbers and how != "first" else known[0]


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
