"""Who is let in to the console, and what as."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgbeam_core.api.results import Refusal
from pgbeam_core.console.places import ALIAS, NAME

if TYPE_CHECKING:
    from pgbeam_core.net.channel import Channel
    from pgbeam_core.settings import Settings


def is_console(parameters: Mapping[str, str]) -> bool:
    """Whether a startup packet asks for the console."""
    return parameters.get("database", parameters.get("user")) in (NAME, ALIAS)


def runs_pgbeam(channel: Channel) -> bool:
    """Whether the client is over there the system user who runs PgBeam: who may stop it may steer it."""
    return channel.system_user is not None and channel.system_user == _own_name()


def is_admin(settings: Settings, user: str, channel: Channel) -> bool:
    """Whether a client may steer, too."""
    return user in settings.admin_users or runs_pgbeam(channel)


def refusal(settings: Settings, user: str, channel: Channel) -> Refusal | None:
    """Why a user may not even look; None if it may, once it has proved who it is."""
    if is_admin(settings, user, channel) or user in settings.stats_users:
        return None
    hint = "Add it to admin_users or stats_users in the settings."
    return Refusal("42501", f'user "{user}" may not use the console', hint=hint)


def _own_name() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
