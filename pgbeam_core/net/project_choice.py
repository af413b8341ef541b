"""Which project a client has come for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgbeam_core.errors import PgBeamError
from pgbeam_core.net.certificates import ClientTls
from pgbeam_core.net.channel import Channel
from pgbeam_core.wire.startup import without_word

if TYPE_CHECKING:
    from pgbeam_core.settings import Project, Settings

_REJECTED = "08004"


def choose(
    settings: Settings, tls: ClientTls | None, channel: Channel, parameters: Mapping[str, str]
) -> tuple[Project, dict[str, str]]:
    """The project, and the startup parameters without what only chooses it. Raises PgBeamError.

    `options=project=NAME` counts most, then the host name asked for, then an alias of a database, then the default.
    """
    if tls is not None and tls.required and not (channel.encrypted or channel.is_local):
        raise _unencrypted(channel, parameters)
    options, name = without_word(parameters.get("options", ""), "project")
    rest = dict(parameters) if name is None else {**parameters, "options": options}
    by_hostname = _by_hostname(settings.projects, channel.hostname)
    if name is not None:
        return _named(settings.projects, name, channel.hostname, by_hostname), rest
    if by_hostname is not None:
        return by_hostname, rest
    found = _by_alias(settings, parameters.get("database") or parameters["user"]) or settings.default_project
    if found is None:
        raise PgBeamError(f'project not found for hostname "{channel.hostname or ""}"', sqlstate=_REJECTED)
    return found, rest


def _by_hostname(projects: Mapping[str, Project], hostname: str | None) -> Project | None:
    if hostname is None:
        return None
    wanted = hostname.lower().rstrip(".")
    return next((project for project in projects.values() if wanted in project.hostnames), None)


def _named(projects: Mapping[str, Project], name: str, hostname: str | None, by_hostname: Project | None) -> Project:
    found = projects.get(name)
    if found is None:
        raise PgBeamError(f'project "{name}" not found', sqlstate=_REJECTED)
    if by_hostname is not None and by_hostname is not found:
        message = f'options ask for project "{name}", but hostname "{hostname}" is that of another'
        raise PgBeamError(message, sqlstate=_REJECTED)
    return found


def _by_alias(settings: Settings, database: str) -> Project | None:
    """The only project that has such an alias; the default's own goes before those of others."""
    having = [project for project in settings.projects.values() if database in project.databases]
    if len(having) > 1 and settings.default_project not in having:
        message = f'database "{database}" is an alias in several projects'
        hint = "Say which: options=project=NAME, or connect to the host name of the project."
        raise PgBeamError(message, sqlstate=_REJECTED, hint=hint)
    return settings.default_project if settings.default_project in having else next(iter(having), None)


def _unencrypted(channel: Channel, parameters: Mapping[str, str]) -> PgBeamError:
    user, database = parameters["user"], parameters.get("database") or parameters["user"]
    return PgBeamError(
        f'connection must be encrypted: host "{channel.address}", user "{user}", database "{database}", no encryption',
        sqlstate="28000",
        hint="Connect with sslmode=require, or a stricter one.",
    )
