"""SHOW MEMBERS: the hosts of each upstream that names several, and what each of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgbeam_core.api.console import Table

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

_COLUMNS = ("project", "address", "state", "servers", "failovers", "reason")
_TYPES = ("text", "text", "text", "int4", "int8", "text")


def members(beam: Beam) -> Table:
    """One row for each host, once somebody has wanted a server there."""
    rows = [
        (target.project, address, state, servers, found.failovers, why or None)
        for target, found in beam.upstreams.members.items()
        for address, state, servers, why in found.rows()
    ]
    return Table(_COLUMNS, rows, _TYPES, ("project", "address", "state"), {"failovers": "max"})
