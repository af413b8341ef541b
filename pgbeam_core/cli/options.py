"""Options that several subcommands share, and the settings that follow from them."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import pluggy

from pgbeam_core import plugins, settings
from pgbeam_core.errors import PgBeamError, SettingsError

UPSTREAM_PROJECT = "default"
EMBEDDED_PROJECT = "shop"


def add_settings_options(parser: ArgumentParser) -> None:
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
    parser.add_argument(
        "--plugins",
        metavar="A,B,C",
        help="plugins to use, in the order in which they are asked (default: limits,cache,replica,pool,debug)",
    )


def add_front_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--upstream",
        metavar="URL",
        help="the PostgreSQL server to stand in front of, postgresql://[user@]host[:port][/database][?sslmode=...], "
        f'instead of the projects in the settings; it makes a project named "{UPSTREAM_PROJECT}", which --set reaches: '
        f"--set projects.{UPSTREAM_PROJECT}.pool_mode=session (default, without projects: an embedded server with a "
        f'small shop, project "{EMBEDDED_PROJECT}")',
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="address for clients, several with commas (default: 127.0.0.1:6432)"
    )


def read_layers(args: Namespace, more: Sequence[str] = ()) -> settings.Merged:
    """The sources of settings that the arguments name; `--listen` and `--plugins` count as `--set`, and so does `more`,
    which comes last."""
    sets = list(args.sets)
    for option, key in (("listen", "listen"), ("plugins", "plugins.order")):
        if (value := getattr(args, option, None)) is not None:
            sets.append(f"{key}={value}")
    return settings.layers(args.config, [*sets, *more], os.environ)


def load_plugins(merged: settings.Merged) -> pluggy.PluginManager:
    """The plugins that are on. If they cannot be loaded, what else is wrong with the settings is told too."""
    try:
        return plugins.load_plugins(settings.plugin_order(merged))
    except PgBeamError as error:
        found = SettingsError(error.message, hint=error.hint)
        raise SettingsError.of([found, *settings.beside_plugins(merged)]) from error


def settings_from(merged: settings.Merged, manager: pluggy.PluginManager) -> settings.Settings:
    """The validated settings for those plugins."""
    return settings.validate(merged, plugins.specs(manager), plugins.installed())


InFront = Callable[[settings.Settings, str], settings.Settings]
"""Gives settings with the project of the embedded server, which is at that URL."""


def checked(
    merged: settings.Merged, manager: pluggy.PluginManager, upstream: str | None
) -> tuple[settings.Settings, InFront]:
    """The validated settings, `--upstream` in place of their projects; and how the embedded server gets into them."""
    if upstream is not None:
        own = merged.take_project(UPSTREAM_PROJECT, "--upstream")
        found = settings_from(merged, manager)
        return settings.apply_project(found, UPSTREAM_PROJECT, upstream, own), _in_front_of_embedded(settings.Merged())
    own = settings.Merged()
    if merged.only_amends(EMBEDDED_PROJECT):
        own = merged.take_project(EMBEDDED_PROJECT, "the embedded server")
    found, in_front = settings_from(merged, manager), _in_front_of_embedded(own)
    if own.tree:
        in_front(found, "postgresql://localhost")  # what is wrong with it is told before that server is started
    return found, in_front


def _in_front_of_embedded(own: settings.Merged) -> InFront:
    return lambda found, url: settings.apply_project(found, EMBEDDED_PROJECT, url, own)
