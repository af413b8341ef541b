"""`pgbeam run`: reads the settings, then serves in this process, or supervises several that do."""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from pgbeam_core import settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options, reactor
from pgbeam_core.errors import PgBeamError, SettingsError
from pgbeam_core.net import descriptors
from pgbeam_core.settings import Settings
from pgbeam_core.telemetry import logs
from pgbeam_core.workers import generations


def configure(parser: ArgumentParser) -> None:
    options.add_front_options(parser)
    options.add_plugins_option(parser)
    options.add_settings_options(parser)
    parser.add_argument("--tui", action="store_true", help="show what is going on, live, in this terminal")


def run(args: Namespace) -> int:
    """Run PgBeam until it is told to stop; in the place of another one, if that has started this process."""
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # it comes too early
    try:
        left = generations.before(os.environ)
    except (EOFError, OSError) as error:
        raise PgBeamError(f"the PgBeam that started this one has left nothing: {error}") from error
    try:
        code = _run(args, left)
    except PgBeamError as error:
        if left is not None:
            left.failed(error.message)
        raise
    return code


def _run(args: Namespace, left: generations.Before | None) -> int:
    merged = options.read_layers(args)
    core = _core_settings(merged, args)
    # First the reactor: a plugin that imports one would install another.
    chosen = reactor.install_reactor(uvloop=core.uvloop)
    order = settings.plugin_order(merged)
    manager = options.load_plugins(merged)

    def reread(sets: Sequence[str] = ()) -> tuple[Settings, options.InFront]:
        merged = options.read_layers(args, sets)
        if settings.plugin_order(merged) != order:
            logs.log.warn("plugins.order is decided at start: what it is now holds from the next start on")
        merged.tree["plugins"]["order"] = list(order)
        return options.checked(merged, manager, args.upstream)

    first, in_front = options.checked(merged, manager, args.upstream)
    descriptors.raise_limit()
    log = _start_logging(first, tui=args.tui)

    def took(current: Settings) -> None:
        log.level = current.log_level

    # Here, because it imports Twisted's networking, which must find our reactor installed.
    from pgbeam_core.cli.living import live

    return live(chosen, (first, in_front), reread, took, manager, left, tui=args.tui)


def _core_settings(merged: settings.Merged, args: Namespace) -> settings.Core:
    """Those that say which reactor it is to be. If they are wrong, all that is wrong is told."""
    try:
        return settings.core_settings(merged)
    except SettingsError:
        options.checked(merged, options.load_plugins(merged), args.upstream)
        raise


def _start_logging(current: Settings, *, tui: bool) -> logs.Log:
    """To stderr; with the TUI on the terminal, to a file."""
    stream = None
    if tui:
        path = current.state_dir / "pgbeam.log"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("a", encoding="utf-8")
        except OSError as error:
            raise PgBeamError(f"cannot write {path}: {error.strerror or error}") from error
    return logs.start(current.log_level, current.log_format, stream)


COMMAND = Command("run", "start PgBeam and serve clients until Ctrl-C", configure, run)
