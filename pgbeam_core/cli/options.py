"""Options that several subcommands share, and the settings that follow from them."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pluggy

from pgbeam_core import plugins, settings


def add_settings_options(parser: ArgumentParser) -> None:
    """`--config` and `--set`."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings file to read (default: settings.toml in this directory, if there is one); "
        "a .secrets.toml beside it is read as well",
    )
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, for example --set projects.shop.pool_mode=session; may be given often",
    )


def add_plugins_option(parser: ArgumentParser) -> None:
    """`--plugins`."""
    parser.add_argument(
        "--plugins",
        metavar="A,B,C",
        help="plugins to use, in the order in which they are asked (default: limits,cache,replica,pool,debug)",
    )


def read_layers(args: Namespace) -> settings.Merged:
    """The sources of settings that the arguments name; `--listen` and `--plugins` count as `--set`."""
    sets = list(args.sets)
    for option, key in (("listen", "listen"), ("plugins", "plugins.order")):
        if (value := getattr(args, option, None)) is not None:
            sets.append(f"{key}={value}")
    return settings.layers(args.config, sets, os.environ)


def settings_from(merged: settings.Merged, manager: pluggy.PluginManager) -> settings.Settings:
    """The validated settings for those plugins."""
    return settings.validate(merged, plugins.specs(manager), plugins.installed())
