"""Finds the subcommand, its own or a plugin's, and turns errors into one line and an exit code."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NoReturn

import pluggy

from pgbeam_core import plugins, settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import check, console, explain, listing, options, release, restart, run, top
from pgbeam_core.errors import PgBeamError, PluginError, SettingsError
from pgbeam_core.telemetry.masking import mask, mask_words


class Arguments(ArgumentParser):
    """What was typed wrong is told without passwords: a terminal is not the only one that reads it."""

    def error(self, message: str) -> NoReturn:
        """Say it, and end with 2."""
        super().error(mask(message))


BUILT_IN = (
    *(run.COMMAND, restart.COMMAND, top.COMMAND, console.COMMAND, listing.COMMAND, check.COMMAND),
    explain.COMMAND,
)
USAGE_ERROR = 2
DESCRIPTION = """\
A programmable PostgreSQL proxy: pooling, caching, replicas and limits, each of them a plugin.

Applications change one thing, the host and port in DATABASE_URL. Without settings, `pgbeam run` starts in front
of a small PostgreSQL of its own, so that there is something to try."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pgbeam` with these arguments. 0 is well, 1 an error, 2 wrong usage or settings."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        args = parser_for(arguments).parse_args(arguments)
        return int(args.run_command(args))
    except (SettingsError, PluginError) as error:
        return complain(error, USAGE_ERROR)
    except PgBeamError as error:
        return complain(error, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output went away, as `| head` does; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def complain(error: PgBeamError, code: int) -> int:
    """On stderr, a line for each thing that is wrong, without passwords; gives the exit code back."""
    hint = f" ({error.hint})" if error.hint else ""
    for line in f"{error.message}{hint}".splitlines():
        print(mask_words(f"pgbeam: {line}"), file=sys.stderr)
    return code


def parser_for(arguments: Sequence[str]) -> ArgumentParser:
    """The parser with all subcommands that these arguments may need.

    Plugins are imported only when the subcommand is none of our own: a broken one must not stand in the way of
    `pgbeam plugins`, which shows what is wrong with it.
    """
    parser = Arguments("pgbeam", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"pgbeam {release.version()}")
    parser.set_defaults(run_command=lambda _: _help(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    known = {command.name: command for command in BUILT_IN}
    for command in BUILT_IN:
        command.configure(_add(commands, command, command.run))
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    if wanted not in known and "--version" not in arguments:
        _add_plugins_commands(commands, set(known), tolerant=wanted is None)
    return parser


def _help(parser: ArgumentParser) -> int:
    parser.print_help()
    return 0


def _add(commands: object, command: Command, run_command: object) -> ArgumentParser:
    sub: ArgumentParser = commands.add_parser(  # type: ignore[attr-defined]
        command.name, help=command.help, description=command.help[:1].upper() + command.help[1:] + "."
    )
    sub.set_defaults(run_command=run_command)
    return sub


def _add_plugins_commands(commands: object, taken: set[str], *, tolerant: bool) -> None:
    """Commands of the plugins that are on; for `--help`, whatever the settings are, what there is."""
    try:
        merged = settings.layers(None, [], os.environ)
        manager = plugins.load_plugins(settings.plugin_order(merged))
        found = list(_commands_of(manager))
    except PgBeamError:
        if tolerant:
            return
        raise
    for plugin, command in found:
        if command.name in taken:
            raise PluginError(f'plugin "{plugin}": there is a command {command.name} already')
        taken.add(command.name)
        sub = _add(commands, command, partial(_run_with_settings, command, manager))
        options.add_settings_options(sub)
        command.configure(sub)


def _commands_of(manager: pluggy.PluginManager) -> Iterable[tuple[str, Command]]:
    for impl in reversed(manager.hook.commands.get_hookimpls()):
        try:
            commands: Any = impl.function()
        except Exception as error:
            reason = plugins.in_words(error)
            raise PluginError(f'plugin "{impl.plugin_name}" failed in commands: {reason}') from error
        for command in commands or ():
            yield impl.plugin_name, command


def _run_with_settings(command: Command, manager: pluggy.PluginManager, args: Namespace) -> int:
    """A plugin's command finds the validated settings in `args.settings`."""
    args.settings = options.settings_from(options.read_layers(args), manager)
    return command.run(args)
