"""Every table of the console: what one process knows, and what follows from the tables of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pgbeam_core.api.console import Table
from pgbeam_core.console import merging, pools, process, sessions, sockets, traffic
from pgbeam_core.console.members import members
from pgbeam_core.console.merging import Tables

if TYPE_CHECKING:
    from pgbeam_core.beam import Beam

_TRAFFIC, _LISTS = "TRAFFIC", "LISTS"
_COLLECTED: dict[str, Callable[[Beam], Table]] = {
    _TRAFFIC: traffic.table,
    "POOLS": pools.pools,
    "DATABASES": pools.databases,
    "USERS": pools.users,
    "CLIENTS": sockets.clients,
    "SERVERS": sockets.servers,
    "SOCKETS": sockets.sockets,
    "ACTIVE_SOCKETS": partial(sockets.sockets, active=True),
    "CONFIG": process.config,
    "VERSION": process.version_table,
    "STATE": process.state,
    "MEM": process.memory,
    _LISTS: process.lists,
    "DNS_HOSTS": process.dns_hosts,
    "DNS_ZONES": process.dns_zones,
    "PEERS": process.peers,
    "PEER_POOLS": process.peer_pools,
    "PLUGINS": process.plugins,
    "WAITING": sessions.waiting,
    "TRANSACTIONS": sessions.transactions,
    "PINS": sessions.pins,
    "MEMBERS": members,
}


def _lists(found: Tables) -> Table:
    counted = {str(row[0]): row[1] for row in found[_LISTS].rows}
    number = {name: len(found[name].rows) for name in ("DATABASES", "USERS", "POOLS")}
    rows = {
        "databases": number["DATABASES"],
        "users": number["USERS"],
        "peers": 0,
        "pools": number["POOLS"],
        "peer_pools": 0,
        **counted,
        **dict.fromkeys(("dns_names", "dns_zones", "dns_queries", "dns_pending"), 0),
    }
    return Table(("list", "items"), list(rows.items()), ("text", "int4"))


_DERIVED: dict[str, tuple[tuple[str, ...], Callable[[Tables], Table]]] = {
    "STATS": ((_TRAFFIC,), lambda found: traffic.stats(found[_TRAFFIC])),
    "STATS_TOTALS": ((_TRAFFIC,), lambda found: traffic.stats_totals(found[_TRAFFIC])),
    "STATS_AVERAGES": ((_TRAFFIC,), lambda found: traffic.stats_averages(found[_TRAFFIC])),
    "TOTALS": ((_TRAFFIC,), lambda found: traffic.totals(found[_TRAFFIC])),
    "LISTS": ((_LISTS, "DATABASES", "USERS", "POOLS"), _lists),
}
CORE = tuple(dict.fromkeys([*_COLLECTED, *_DERIVED]))


def names(beam: Beam) -> list[str]:
    """What SHOW takes: the core's tables, then those of plugins."""
    return [name for name in CORE if name != _TRAFFIC] + [name for name in _of_plugins(beam) if name not in CORE]


def tables(beam: Beam, wanted: Iterable[str] | None = None) -> Tables:
    """Tables by name, those of this process only; all of them if no names are given."""
    chosen = list(names(beam) if wanted is None else wanted)
    return finished([collected(beam, chosen)], chosen)


def collected(beam: Beam, wanted: Iterable[str]) -> Tables:
    """What one process adds to these. A name that nobody knows is left out."""
    needed = [each for name in wanted for each in (_DERIVED[name][0] if name in _DERIVED else (name,))]
    found: Tables = {}
    of_plugins: Mapping[str, Table] | None = None
    for name in dict.fromkeys(needed):
        if name in _COLLECTED:
            found[name] = _COLLECTED[name](beam)
        else:
            of_plugins = _of_plugins(beam) if of_plugins is None else of_plugins
            if name in of_plugins:
                found[name] = of_plugins[name]
    return found


def finished(parts: list[Tables], wanted: Iterable[str]) -> Tables:
    """The tables that these parts make, one of each worker."""
    found = merging.merged(parts)
    made = {name: _DERIVED[name][1](found) for name in wanted if name in _DERIVED}
    return {name: made.get(name) or found[name] for name in wanted if name in made or name in found}


def answer(beam: Beam, request: Mapping[str, Any]) -> dict[str, Any]:
    """This process's part, as the control socket has it: `names` of the tables, or none for all."""
    given = request.get("names")
    wanted = [str(name).upper() for name in given] if isinstance(given, list) else names(beam)
    return {"names": wanted, "tables": merging.as_json(collected(beam, wanted))}


def merge(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The tables by name, from those parts."""
    parts = list(parts)
    found = [merging.from_json(part["tables"]) for part in parts]
    return merging.as_json(finished(found, parts[0]["names"]))


def _of_plugins(beam: Beam) -> dict[str, Table]:
    """What plugins add, by upper-case name; the first of a name counts. What is no table costs only who gave it."""
    found: dict[str, Table] = {}
    for plugin, given in beam.hooks.console():
        if not isinstance(given, Mapping):
            beam.hooks.unfit("console", plugin, given, "a Mapping of names to Tables")
            continue
        for name, table in given.items():
            if not _is_table(table):
                beam.hooks.unfit("console", plugin, table, f"Tables with as many values in a row as columns, {name}")
            else:
                found.setdefault(str(name).upper(), table)
    return found


def _is_table(table: object) -> bool:
    return isinstance(table, Table) and all(len(row) == len(table.columns) for row in table.rows)
