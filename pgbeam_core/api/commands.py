"""A subcommand of the `pgbeam` command line, as plugins add them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Command:
    """`pgbeam <name>`: `configure` adds its arguments, `run` does it and gives the exit code (0, 1, or 2 for usage)."""

    name: str
    help: str
    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
