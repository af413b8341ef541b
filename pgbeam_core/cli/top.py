"""`pgbeam top`: the live screen of a PgBeam that runs already, or one look at it as text."""

from __future__ import annotations

import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any

from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options, reactor
from pgbeam_core.errors import PgBeamError
from pgbeam_core.settings import core_settings

APART_S = 1.0
"""Between the two looks that rates are taken from."""


def configure(parser: ArgumentParser) -> None:
    options.add_settings_options(parser)
    parser.add_argument(
        "--url",
        metavar="URL",
        help="ask the dashboard of a PgBeam elsewhere, http://host:port, with dashboard_token of the settings "
        "(PGBEAM_DASHBOARD_TOKEN in the environment); without it, the PgBeam of this machine with this state_dir",
    )
    parser.add_argument("--plain", action="store_true", help="print one look and end, as without a terminal")


def run(args: Namespace) -> int:
    """Show a running PgBeam until its user presses q; without a terminal, print how it is."""
    core = core_settings(options.read_layers(args))
    from pgbeam_core.tui.asking import OverHttp, by_socket
    from pgbeam_core.tui.terminal import is_capable

    if args.url is not None and not core.dashboard_token:
        raise PgBeamError("--url needs the token of that dashboard", hint="Set PGBEAM_DASHBOARD_TOKEN.")
    blocking = by_socket(core.state_dir) if args.url is None else OverHttp(args.url, core.dashboard_token or "")
    if args.plain or not sys.stdout.isatty() or not sys.stdin.isatty() or not is_capable():
        return _plain(blocking)
    seen = blocking("view")
    return _live(reactor.install_reactor(uvloop=False), blocking, seen)


def _plain(blocking: Callable[..., Any]) -> int:
    from rich.console import Console
    from twisted.internet.task import Clock

    from pgbeam_core.cli.output import PLAIN_WIDTH
    from pgbeam_core.telemetry.samples import Window
    from pgbeam_core.tui.asking import Elsewhere
    from pgbeam_core.tui.plain import snapshot

    clock = Clock()
    there = Elsewhere(clock, blocking("view"))
    window = Window(there)
    window.look()
    time.sleep(APART_S)
    clock.advance(APART_S)
    there.took(blocking("view"))
    try:
        shapes = blocking("cache.shapes", sort="total_ms", limit=10)["shapes"]
    except PgBeamError:  # without the cache there are none
        shapes = []
    console = Console(highlight=False, width=PLAIN_WIDTH, no_color=True)
    console.print(snapshot(window.look(), there.up_s, shapes))
    return 0


def _live(chosen: Any, blocking: Callable[..., Any], seen: Any) -> int:
    from pgbeam_core.cli.main import complain
    from pgbeam_core.tui.remote import show_elsewhere

    over: list[PgBeamError | None] = []

    def begin() -> None:
        if hasattr(signal, "SIGHUP"):  # the reactor minds SIGINT and SIGTERM; the terminal is put in order here, too
            signal.signal(signal.SIGHUP, lambda *_: chosen.callFromThread(chosen.stop))
        ended = show_elsewhere(chosen, blocking, seen)
        ended.addCallbacks(lambda _: over.append(None), lambda failure: over.append(failure.value))
        ended.addBoth(lambda _: chosen.stop())

    chosen.callWhenRunning(begin)
    chosen.run()
    return complain(over[0], 1) if over and over[0] is not None else 0


COMMAND = Command(
    "top", "show a running PgBeam, live: traffic, pools, clients, shapes with their rules, log", configure, run
)
