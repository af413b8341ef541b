"""`pgbeam check`: tells all that is wrong with the settings, and starts nothing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pgbeam_core import settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options
from pgbeam_core.net import certificates


def configure(parser: ArgumentParser) -> None:
    options.add_front_options(parser)
    options.add_settings_options(parser)
    options.add_plugins_option(parser)


def run(args: Namespace) -> int:
    """Print the settings that `pgbeam run` would use, or all that is wrong with them."""
    merged = options.read_layers(args)
    found, _ = options.checked(merged, options.load_plugins(merged), args.upstream)
    certificates.check(found.tls)
    print(settings.to_toml(found), end="")
    return 0


COMMAND = Command("check", "check the settings and print them merged, with secrets masked", configure, run)
