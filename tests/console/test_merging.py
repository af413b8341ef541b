"""One answer of several workers."""

from __future__ import annotations

from pgbeam_core import Table
from pgbeam_core.console.merging import as_json, from_json, one
from pgbeam_core.console.traffic import stats, totals


def test_rows_of_a_key_are_one() -> None:
    """Numbers add up, the longest wait is the longest of all, texts stay."""
    columns, types = ("database", "clients", "maxwait", "mode"), ("text", "int4", "int4", "text")
    one_, two = ([("shop", 2, 7, "transaction")], [("shop", 3, 4, "transaction"), ("crm", 1, 0, "session")])
    tables = [Table(columns, rows, types, ("database",), {"maxwait": "max"}) for rows in (one_, two)]
    assert list(map(tuple, one(tables).rows)) == [("shop", 5, 7, "transaction"), ("crm", 1, 0, "session")]


def test_an_average_is_weighed() -> None:
    """Ten calls of 1 ms and thirty of 5 ms are 4 ms on average."""
    tables = [
        Table(("q", "calls", "ms"), [row], (), ("q",), {"ms": "mean calls"}) for row in (("a", 10, 1.0), ("a", 30, 5.0))
    ]
    assert one(tables).rows == [["a", 40, 4.0]]


def test_without_a_key_equal_rows_are_one() -> None:
    """What all workers know alike is told once."""
    tables = [Table(("name",), [("x",), (worker,)]) for worker in ("one", "two")]
    assert list(map(tuple, one(tables).rows)) == [("x",), ("one",), ("two",)]


def test_tables_travel_as_json() -> None:
    """What comes out at the other end is what went in."""
    table = Table(("a",), [[1]], ("int8",), ("a",), {"b": "max"})
    assert as_json(from_json(as_json({"A": table}))) == as_json({"A": table})


def _traffic(*rows: tuple[object, ...]) -> Table:
    return Table([str(place) for place in range(24)], rows)


def test_averages_are_over_what_was_counted_since() -> None:
    """Counts are per second, times per transaction, per query and per assignment, as PgBouncer has them."""
    now = (20, 40, 80, 4000, 8000, 4_000_000, 1_000_000, 600, 20, 10, 40)
    before = (0, 20, 40, 2000, 4000, 2_000_000, 600_000, 200, 0, 0, 0)
    (row,) = stats(_traffic(("shop", *now, *before, 20.0))).rows
    assert row == ("shop", *now, 1, 1, 2, 100, 200, 100_000, 10_000, 20, 1, 0, 2)


def test_totals_are_of_all_databases() -> None:
    """SHOW TOTALS has one number of each kind."""
    ones = ("a", *[1] * 11, *[0] * 11, 1.0)
    rows = dict(totals(_traffic(ones, ("b", *ones[1:]))).rows)
    assert rows["total_query_count"] == 2
    assert len(rows) == 22
