"""Tables for a terminal, and for programs that read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 10_000
"""When the output is no terminal, nobody's lines are cut."""


def to_stdout() -> Console:
    """As wide as the terminal; without one, as wide as anything is."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def plain_table(titles: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """No lines around anything; None is an empty cell."""
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(Text(title), overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    return table
