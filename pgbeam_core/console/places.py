"""What databases are called at the console."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgbeam_core.api.pool import PoolConsole
    from pgbeam_core.api.query import Target
    from pgbeam_core.beam import Beam

NAME = "pgbeam"
ALIAS = "pgbouncer"
"""A client that asks for a database of either name gets the console."""


def consoles(beam: Beam) -> Iterator[tuple[Target, PoolConsole]]:
    """The pools that can be looked into."""
    for target, pool in list(beam.pools.items()):
        console: PoolConsole | None = getattr(pool, "console", None)
        if console is not None:
            yield target, console


def label(beam: Beam, project: str, database: str) -> str:
    """A database of the default project has the name that clients give; one of another project has that in front."""
    default = beam.settings.default_project
    if default is not None and default.name == project:
        return database or f"{project}/"
    return f"{project}/{database}"


def known(beam: Beam) -> dict[tuple[str, str], None]:
    """(project, database) of all that PgBeam has heard of: from its settings, and from clients that are let in."""
    found: dict[tuple[str, str], None] = {}
    for project in beam.settings.projects.values():
        if project.primary.database:
            found[project.name, project.primary.database] = None
        for alias in getattr(project, "databases", {}):
            found[project.name, alias] = None
    found.update(dict.fromkeys(place for place in beam.counted.by_database if place[1]))
    return found
