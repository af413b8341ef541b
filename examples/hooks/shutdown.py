"""Puts away what `startup` opened, when the clients are gone."""

from io import StringIO

from pgbeam_core import Beam, hookimpl

journal = StringIO()


@hookimpl
def startup(beam: Beam) -> None:
    journal.write(f"started with {len(beam.settings.projects)} project(s)\n")


@hookimpl
def shutdown(beam: Beam) -> None:
    journal.write("stopped\n")
