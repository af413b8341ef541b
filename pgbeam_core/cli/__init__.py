"""The `pgbeam` command line."""

from __future__ import annotations

from pgbeam_core.cli.main import main

__all__ = ["main"]
