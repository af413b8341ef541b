"""`pgbeam console "SHOW POOLS"`: one command of the console, without a client of PostgreSQL and without a password."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import Any

from rich.text import Text

from pgbeam_core import settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options
from pgbeam_core.cli.output import plain_table, to_stdout
from pgbeam_core.control.client import ask_running


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
    shown = plain_table(told["columns"], told["rows"]) if "columns" in told else Text(told["tag"])
    to_stdout().print(shown)


COMMAND = Command("console", "have a running PgBeam do one command of its console", configure, run)
