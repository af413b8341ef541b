"""Hears of new settings, and of projects that have come or gone."""

from pgbeam_core import Beam, hookimpl

known: list[set[str]] = []


@hookimpl
def reload(beam: Beam) -> None:
    known.append(set(beam.settings.projects))
