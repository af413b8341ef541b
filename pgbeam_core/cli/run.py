"""`pgbeam run`."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from pgbeam_core import settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import banner, options, reactor
from pgbeam_core.errors import PgBeamError, SettingsError
from pgbeam_core.net import descriptors
from pgbeam_core.settings import Settings
from pgbeam_core.telemetry import logs


def configure(parser: ArgumentParser) -> None:
    options.add_front_options(parser)
    options.add_plugins_option(parser)
    options.add_settings_options(parser)
    parser.add_argument("--tui", action="store_true", help="show what is going on, live, in this terminal")


def run(args: Namespace) -> int:
    """Run PgBeam until it is told to stop."""
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

    return _live(chosen, (first, in_front), reread, took, manager, tui=args.tui)


def _core_settings(merged: settings.Merged, args: Namespace) -> settings.Core:
    """Those that say which reactor it is to be. If they are wrong, all that is wrong is told."""
    try:
        return settings.core_settings(merged)
    except SettingsError:
        options.checked(merged, options.load_plugins(merged), args.upstream)
        raise


def _live(chosen: Any, first: Any, reread: Any, took: Any, manager: Any, *, tui: bool) -> int:
    # Here, because these import Twisted's networking, which must find our reactor installed.
    from twisted.internet.defer import Deferred

    from pgbeam_core.cli import systemd
    from pgbeam_core.cli.life import Life, Service, listen_to_signals
    from pgbeam_core.cli.main import complain
    from pgbeam_core.embedded import EmbeddedPostgres, shop_postgres
    from pgbeam_core.service import PgBeamService
    from pgbeam_core.workers.supervisor import Supervisor

    def embedded(current: Settings) -> EmbeddedPostgres:
        print("Starting an embedded PostgreSQL; the first time takes a few seconds.", file=sys.stderr, flush=True)
        return shop_postgres(current.state_dir)

    def ready(current: Settings, service: Service, is_embedded: bool) -> None:
        began = chosen.seconds()
        service.control.answer("view", lambda _: _seen(service, chosen.seconds() - began))
        if not tui:
            print(banner.text(current, embedded=is_embedded), flush=True)
            return
        from pgbeam_core.tui import run_tui

        closed = run_tui(service)
        if isinstance(closed, Deferred):
            closed.addBoth(lambda _: life.leave())

    def service(current: Settings) -> Service:
        if current.workers > 1:
            return Supervisor(current, chosen, tui=tui)
        alone = PgBeamService(current, manager, chosen)
        alone.beam.authority.keep_secret()
        return alone

    life = Life(chosen, first, reread, took, service, embedded, ready, systemd.notifier(chosen))

    def begin() -> None:
        listen_to_signals(chosen, life)
        Deferred.fromCoroutine(life.live()).addErrback(_unexpected, life).addBoth(lambda _: chosen.stop())

    chosen.callWhenRunning(begin)
    chosen.run(installSignalHandlers=False)
    return complain(life.failure, 1) if life.failure is not None else 0


def _seen(service: Any, up_s: float) -> dict[str, Any]:
    from pgbeam_core.tui.seen import seen  # here, because few look

    return seen(service, up_s)


def _unexpected(failure: Any, life: Any) -> None:
    logs.log.failure("PgBeam failed", failure=failure)
    life.failure = PgBeamError(f"failed: {failure.getErrorMessage()}")


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
