"""`pgbeam plugins`: those that are installed, which of them are on, and their hooks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pgbeam_core import plugins, settings
from pgbeam_core.api.commands import Command
from pgbeam_core.cli import options

PLAIN_WIDTH = 160  # when the output is no terminal, nobody's lines are cut


def configure(parser: ArgumentParser) -> None:
    options.add_settings_options(parser)
    options.add_plugins_option(parser)


def run(args: Namespace) -> int:
    """Print a table of what is installed, those that are on first, in the order in which they are asked."""
    order = settings.plugin_order(options.read_layers(args))
    known = {name: place for place, name in enumerate(order, 1)}
    found = sorted(plugins.available(), key=lambda info: (known.get(info.name, len(known) + 1), info.name))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    console.print(_table(found, known))
    for name in order:
        if all(info.name != name for info in found):
            console.print(f"{name} is in the settings, but not installed", markup=False)
    return 0


def _table(found: list[plugins.PluginInfo], known: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("name", "version", "from", "hooks", ""):
        table.add_column(title, overflow="fold", style="bold" if title == "name" else None)
    for info in found:
        hooks = info.error or ", ".join(info.hooks)
        source = f"{info.distribution} ({info.module})"
        cells = (info.name, info.version, source, hooks, "on" if info.name in known else "off")
        table.add_row(*map(Text, cells))  # not markup: an error text may hold brackets
    return table


COMMAND = Command("plugins", "list the installed plugins: name, version, where from, hooks, on or off", configure, run)
