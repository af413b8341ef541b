"""Which PgBeam this is: its version, and whether its hot modules are compiled."""

from __future__ import annotations

from importlib import metadata
from importlib.machinery import ExtensionFileLoader

from pgbeam_core.api import query


def compiled() -> bool:
    """Whether the modules on the path of a query are compiled; `query` stands for them all."""
    return isinstance(query.__spec__.loader if query.__spec__ else None, ExtensionFileLoader)


def version() -> str:
    """For people: "0.1.0", or "0.1.0 (compiled)"."""
    return metadata.version("pgbeam") + (" (compiled)" if compiled() else "")
