"""What no single field can tell about where and how clients come in."""

from __future__ import annotations

import re
from ipaddress import ip_network

from pgbeam_core.settings.model import Alias, Core
from pgbeam_core.settings.where import Where
from pgbeam_core.settings.wrong import Wrong

_MODE = re.compile(r"0?[0-7]{3}")
_NOT_OF_ALIASES = ("user", "database", "options", "replication")


def check_listening(core: Core, where: Where) -> None:
    """Raises SettingsError for all that is wrong."""
    wrong = Wrong()
    if not _MODE.fullmatch(core.unix_socket_mode):
        wrong.add((where / "unix_socket_mode").error(core.unix_socket_mode, 'write it in octal, for example "0770"'))
    for network in core.proxy_trusted:
        try:
            network == "unix" or ip_network(network)
        except ValueError as error:
            wrong.add((where / "proxy_trusted").error(network, f"is no network: {error}"))
    if core.proxy_protocol and not core.proxy_trusted:
        wrong.add((where / "proxy_protocol").error(True, "proxy_trusted must name the networks of the load balancers"))
    wrong.tell()


def check_alias(alias: Alias, where: Where) -> None:
    """Raises SettingsError for parameters that are none."""
    wrong = Wrong()
    for name in alias.parameters:
        if not name or name.lower() in _NOT_OF_ALIASES:
            reason = "is no run-time parameter" + ("" if not name else ": give database and user beside `parameters`")
            wrong.add((where / "parameters" / name).error(alias.parameters[name], reason))
    wrong.tell()
