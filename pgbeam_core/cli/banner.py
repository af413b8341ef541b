"""What `pgbeam run` says once it is ready."""

from __future__ import annotations

from urllib.parse import quote

from pgbeam_core.embedded.shop import QUERY_TO_TRY
from pgbeam_core.settings import Endpoint, Settings

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def text(settings: Settings, *, embedded: bool) -> str:
    """The URL to connect to and one query to try."""
    url = client_url(settings)
    behind = "an embedded PostgreSQL with a small shop" if embedded else _servers(settings)
    query = QUERY_TO_TRY if embedded else "SELECT version()"
    return (
        f"PgBeam listens on {', '.join(map(str, settings.listen))}, in front of {behind}.\n"
        f"\n"
        f"  DATABASE_URL={url}\n"
        f'  psql {url} -c "{query}"\n'
        f"\n"
        f"Ctrl-C drains and stops."
    )


def client_url(settings: Settings) -> str:
    """Where an application connects: the first address, with user and database if the project names them."""
    listen = next((where for where in settings.listen if where.path is None), settings.listen[0])
    here = Endpoint(EVERYWHERE.get(listen.host, listen.host), listen.port)
    project = settings.default_project
    user = f"{quote(project.primary.user)}@" if project and project.primary.user else ""
    database = f"/{quote(project.primary.database)}" if project and project.primary.database else "/"
    if listen.path is not None:
        return f"'postgresql://{user}{database}?host={quote(listen.host)}&port={listen.port}'"
    return f"postgresql://{user}{here}{database}"


def _servers(settings: Settings) -> str:
    return ", ".join(project.primary.address for project in settings.projects.values())
