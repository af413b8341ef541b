"""`pgbeam cache-rules list|set|unset`, against the running PgBeam."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgbeam_core import Command, ask_running

_PLAIN_WIDTH = 10_000
"""When the output is no terminal, nobody's lines are cut."""
_WIDTHS = {"hash": 16, "calls": 7, "avg ms": 6, "p95 ms": 6, "stability": 9, "advice": 6, "rule": 4}


def configure(parser: ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="list|set|unset", required=True)
    what.add_parser("list", help="the shapes seen lately, with their rules")
    change = what.add_parser("set", help="make a rule for a shape")
    change.add_argument("query_hash", metavar="HASH", help="16 hex digits, as list shows them")
    change.add_argument("--ttl", type=int, metavar="S", help="seconds that a reply is fresh")
    change.add_argument("--swr", type=int, metavar="S", help="seconds after that in which it is served while refreshed")
    change.add_argument(
        "--enabled", action=argparse.BooleanOptionalAction, default=True, help="cache it, or see that nobody does"
    )
    change.add_argument("--project", metavar="NAME", help="in this project only, and there before the rule for all")
    unset = what.add_parser("unset", help="take a rule away")
    unset.add_argument("--project", metavar="NAME", help="that of this project")
    unset.add_argument("query_hash", metavar="HASH")


def run(args: Namespace) -> int:
    state_dir = args.settings.state_dir
    if args.what == "list":
        _print(ask_running(state_dir, "cache-rules.list"))
        return 0
    if args.what == "set":
        fields = {"enabled": args.enabled, "ttl": args.ttl, "swr": args.swr, "project": args.project}
        ask_running(state_dir, "cache-rules.set", query_hash=args.query_hash, **fields)
        print(f"{args.query_hash}: rule set")
        return 0
    there = ask_running(state_dir, "cache-rules.unset", query_hash=args.query_hash, project=args.project)
    print(f"{args.query_hash}: {'rule taken away' if there else 'there was no rule'}")
    return 0 if there else 1


def _print(rows: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    table = Table(box=None, pad_edge=False)
    for title in ("hash", "calls", "avg ms", "p95 ms", "stability", "advice", "rule", "query"):
        # Only the last one gives way to a narrow terminal: a hash that is cut is of no use.
        table.add_column(title, no_wrap=True, overflow="ellipsis", min_width=_WIDTHS.get(title))
    for row in rows:
        stability = "" if row["stability"] is None else f"{row['stability']:.0%}"
        numbers = (str(row["calls"]), f"{row['avg_ms']:.1f}", f"{row['p95_ms']:.1f}", stability)
        table.add_row(*map(Text, (row["query_hash"], *numbers, row["recommendation"], row["rule"] or "", row["query"])))
    console.print(table)


COMMAND = Command("cache-rules", "show and change what is cached by the shape of queries", configure, run)
