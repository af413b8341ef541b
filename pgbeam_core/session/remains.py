"""What a statement may leave behind on a server: the table of kinds, and the one place that decides by it.

A server goes to somebody else, and a reply into the cache, only when all that ran on it since it was last known is of a
kind that leaves nothing, or nothing but what is booked. It does not matter how that ended: with success, an error, a
cancel, or never. After all other kinds the server is asked (`inspection`), and one that does not answer is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgbeam_core.api.statement import Kind, Statement

if TYPE_CHECKING:
    from pgbeam_core.catalog.catalog import Catalog

NOTHING, BOOKED, ASKED, PLAIN = "nothing", "booked", "asked", "nothing, or asked"


class Row(NamedTuple):
    """Kinds of statements, and how PgBeam knows what they leave."""

    kinds: frozenset[Kind]
    how: str


TABLE = (
    # Reads and writes of rows leave nothing where only PostgreSQL's own code runs, which the catalog tells.
    Row(
        frozenset({Kind.SELECT, Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.MERGE, Kind.COPY, Kind.DECLARE})
        | {Kind.PREPARE},
        PLAIN,
    ),
    # Their whole effect is in their text and their success.
    Row(frozenset({Kind.SET, Kind.RESET, Kind.LISTEN, Kind.LOAD}), BOOKED),
    Row(frozenset({Kind.BEGIN, Kind.COMMIT, Kind.ROLLBACK, Kind.SAVEPOINT, Kind.RELEASE, Kind.ROLLBACK_TO}), BOOKED),
    Row(frozenset({Kind.DISCARD, Kind.DEALLOCATE, Kind.CLOSE, Kind.UNLISTEN, Kind.TWO_PHASE}), BOOKED),
    # What a cursor runs counts as run in the transaction that declares it.
    Row(frozenset({Kind.SHOW, Kind.FETCH, Kind.NOTIFY, Kind.LOCK, Kind.EMPTY}), NOTHING),
    # They run code that the text does not show: functions, event triggers, expressions of indexes, planning.
    Row(frozenset({Kind.DO, Kind.CALL, Kind.EXECUTE, Kind.EXPLAIN, Kind.DDL, Kind.UTILITY, Kind.UNKNOWN}), ASKED),
)
"""Every kind but MULTI, which is what its parts are."""

ASKED_WORDS = frozenset({"unknown", "advisory_lock", "slot", "origin"})
"""What PostgreSQL's own functions leave (`Statement.makes`), an error after them or not: the server is asked."""
KEPT_BY_DISCARD = frozenset({"load", "slot", "origin", "backup"})
"""What DISCARD ALL does not take away: such a server is closed."""

_HOW = {kind: row.how for row in TABLE for kind in row.kinds}


def may_leave(statement: Statement, catalog: Catalog | None) -> bool:
    """Whether its running may leave what only the server knows. Without a catalog any relation may run code."""
    for part in statement.parts or (statement,):
        how = _HOW[part.kind]
        if how is ASKED or not part.makes.isdisjoint(ASKED_WORDS):
            return True
        if how is PLAIN and (catalog is None or catalog.runs_code(part)):
            return True
    return False


def verdict(statement: Statement, catalog: Catalog | None) -> bool:
    """The same, remembered for as long as the catalog stays what it is."""
    if catalog is None:
        return may_leave(statement, None)
    found = statement._verdict
    if found.serial != catalog.serial:
        found.leaves = may_leave(statement, catalog)
        found.serial = catalog.serial
    return found.leaves
