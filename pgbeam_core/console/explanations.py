"""`pgbeam explain "SELECT …"`: what would be done with a statement that no client has sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pgbeam_core.api.query import Query
from pgbeam_core.errors import PgBeamError
from pgbeam_core.session.explaining import explain
from pgbeam_core.session.session import Session

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam
    from pgbeam_core.settings import Project


def answer(beam: Beam, request: Mapping[str, Any]) -> list[list[str | None]]:
    """The rows for a statement under `sql`, as `user` would get them in `database` of `project`, outside of a
    transaction. Raises PgBeamError."""
    sql = str(request.get("sql") or "")
    if not sql.strip():
        raise PgBeamError("there is no statement to explain", sqlstate="22023")
    project = _project(beam, request.get("project"))
    session = _session(beam, project, request.get("user"), request.get("database"))
    query = Query(session, beam.runtime.statement(sql.encode()), True, False, True, beam.now())
    query.target = project.primary
    return [list(row) for row in explain(session, query, beam.hooks)]


def _project(beam: Beam, name: object) -> Project:
    projects = beam.settings.projects
    found = projects.get(str(name)) if name is not None else beam.settings.default_project
    if found is None:
        text = f"no such project: {name}" if name is not None else "there is no default project"
        raise PgBeamError(text, sqlstate="3D000", hint=f"Projects are: {', '.join(projects)}.")
    return found


def _session(beam: Beam, project: Project, user: object, database: object) -> Session:
    """One that is there, so that what is known of it counts; else one that might be."""
    for session in beam.sessions.values():
        if session.project is not project or session.at_console:
            continue
        if user in (None, session.user) and database in (None, session.database):
            return session
    wanted = {"user": str(user or project.primary.user or "postgres")}
    if database is not None:
        wanted["database"] = str(database)
    return Session(project, "", wanted, hostname=None, ask=lambda _name, _value: None)
