"""Runs a cell direct and through PgBeam, and tells what is different."""

from __future__ import annotations

import itertools
import re

from ..beams import Direct
from ..differential.running import difference
from ..wireclient import Frame
from .cells import Cell
from .legs import ENDS, Leg, Seen
from .schema import APART, DATABASES
from .things import APP
from .views import View, look

_MASKS = [r"\(mine, \d+\)", r"matrix_matrix\w*(,0/[0-9A-F]+)?"]
"""The number of a temporary schema in the details of an error; slots and origins with the name of their database."""


class Comparison:
    """A direct leg, one through PgBeam, and what a session sees that nothing has happened in."""

    def __init__(self, place: Direct) -> None:
        self._straight = Direct(place.cluster)
        self._legs = {
            apart: (Leg(place, through), Leg(self._straight, direct))
            for apart, (through, direct) in ((False, DATABASES), (True, APART))
        }
        self._through, self._direct = self._legs[False]
        self._fresh: dict[tuple[str, str], View] = {}
        self.known = 0
        """How many differences were those of docs/limits-of.md."""
        self.shared = 0
        """How often both clients were on one server process."""

    def run(self, cell: Cell) -> list[str]:
        """What is not as it has to be."""
        if self._legs[cell.way.apart][0] is not self._through:
            self._through.leave()
            self._direct.leave()
            self._through, self._direct = self._legs[cell.way.apart]
        right, seen = _attempt(self._direct, cell), _attempt(self._through, cell)
        if isinstance(right, str):
            found = [f"direct: {right}"]
        elif isinstance(seen, str):
            found = [seen]
        else:
            self.shared += seen.shared
            found = [*_own(cell, right, seen), *self._others(cell, seen)]
            known = [line for line in found if cell.thing.limit and re.match(cell.thing.limit, line)]
            self.known += len(known)
            found = [line for line in found if line not in known]
        if found:
            self._through.renew()
            self._direct.renew()
        return found

    def close(self) -> None:
        """All clients go."""
        for leg in itertools.chain(*self._legs.values()):
            leg.close()

    def _others(self, cell: Cell, seen: Seen) -> list[str]:
        fresh = {**self._view(cell), "rows": self._through.rows()}
        if cell.outcome.gone and seen.other.get("rows") != fresh["rows"]:
            fresh["rows"], seen.other["rows"] = self._through.rows_at_rest(cell.thing.user)
        fresh["secret"] = "all" if cell.thing.user == APP else "all acme matrix_other"
        found = [f"the other sees {line}" for line in _unequal(fresh, seen.other)]
        if seen.waited and self._through.mode != "session":
            found.append("the other waited: the server was kept for nothing")
        return found

    def _view(self, cell: Cell) -> View:
        key = cell.thing.user, cell.thing.ask
        if key not in self._fresh:
            with self._straight.wire(key[0], DATABASES[1]) as client:
                self._fresh[key] = look(client, *key)[0]
        return self._fresh[key]


def _own(cell: Cell, right: Seen, seen: Seen) -> list[str]:
    found: list[str] = []
    heard = not cell.outcome.gone and cell.outcome.mark != "^" and not cell.way.vague
    if heard and (parted := difference(_said(right), _said(seen), _MASKS)):
        found.append(f"reply: {parted}")
    if right.own and not seen.own:
        found.append("own view: connection lost")
    for want in right.own:
        for number, have in enumerate(seen.own, 1):
            found += [f"own view {number}: {line}" for line in _unequal(want, have)]
    return found


def _said(seen: Seen) -> list[list[Frame]]:
    """The replies without where in which function: how that is spelled depends on what was compiled when."""
    return [[_without_context(frame) for frame in reply] for reply in seen.replies]


def _without_context(frame: Frame) -> Frame:
    if frame.tag not in b"EN":
        return frame
    return Frame(frame.tag, b"\0".join(part for part in frame.body.split(b"\0") if part[:1] != b"W"))


def _unequal(want: View, have: View) -> list[str]:
    return [
        f"{name}: {have.get(name)!r} instead of {want.get(name)!r}"
        for name in sorted(want.keys() | have.keys())
        if want.get(name) != have.get(name)
    ]


def _attempt(leg: Leg, cell: Cell) -> Seen | str:
    try:
        return leg.run(cell)
    except ENDS as end:
        leg.renew()
        return repr(end)
