"""The command line: `main` finds the command, those of plugins included, and gives the exit status."""

from __future__ import annotations

from pgbeam_core.cli.main import main

__all__ = ["main"]
