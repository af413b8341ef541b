"""`pgbeam console "SHOW POOLS"`: one command of the console, without a client of PostgreSQL and without a password."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgbeam_core import settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options
from pgbeam_core.control.client import ask_running

_PLAIN_WIDTH = 10_000
"""When the output is no terminal, nobody's lines are cut."""


def configure(parser: ArgumentParser) -> None:
    options.add_settings_options(parser)
    parser.add_argument(
        "command", nargs="+", metavar="COMMAND", help='for example: SHOW WAITING, KILL_CLIENT 17, PAUSE, "RESUME shop"'
    )


def run(args: Namespace) -> int:
    """Have the PgBeam that runs with the same state_dir do it; a PAUSE returns when it is done."""
    state_dir = settings.core_settings(options.read_layers(args)).state_dir
    command = " ".join(args.command)
    told = ask_running(state_dir, "console", command=command)
    if told["pending"]:
        print(f"{told['tag']} holds, and waits for servers that are in use", file=sys.stderr, flush=True)
    while told["pending"]:
        told = ask_running(state_dir, "console", command=command, again=True)
    _show(told)
    return 0


def _show(told: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    if "columns" not in told:
        console.print(Text(told["tag"]))
        return
    table = Table(box=None, pad_edge=False)
    for title in told["columns"]:
        table.add_column(Text(title), overflow="fold")
    for row in told["rows"]:
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console.print(table)


COMMAND = Command("console", "have a running PgBeam do one command of its console", configure, run)
