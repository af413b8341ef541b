"""`pgbeam explain "SELECT …"`: asks a running PgBeam what it would do."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pgbeam_core import settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options
from pgbeam_core.cli.output import plain_table, to_stdout
from pgbeam_core.control.client import ask_running


def configure(parser: ArgumentParser) -> None:
    options.add_settings_options(parser)
    parser.add_argument("sql", metavar="SQL", help="the statement; it is not executed")
    parser.add_argument("--user", help="as that user would get it (default: a client that is there)")
    parser.add_argument("--database", help="in that database, as clients name it")
    parser.add_argument("--project", help="of that project (default: the default one)")


def run(args: Namespace) -> int:
    """Ask the PgBeam that runs with the same state_dir."""
    state_dir = settings.core_settings(options.read_layers(args)).state_dir
    asked = {name: getattr(args, name) for name in ("sql", "user", "database", "project")}
    rows = ask_running(state_dir, "explain", **asked)
    to_stdout().print(plain_table(("what", "value", "why", "said by"), rows))
    return 0


COMMAND = Command("explain", "say what PgBeam would do with a statement, and why", configure, run)
