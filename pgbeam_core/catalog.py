"""What one database's own catalog says about reading and writing: volatility, views, partitions, cascades, policies.

Relations are meant by their bare name, whatever the schema: which schema an unqualified name means depends on the
session, and two of a name count as one. So every answer holds for all of them; it may name too much, never too little.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pgbeam_core.query import Name, Statement
from pgbeam_core.sql.classify import classify
from pgbeam_core.sql.volatility import Volatility

Row = tuple[str | None, ...]

_USERS = "OPERATOR(pg_catalog.!~) '^(pg_|information_schema$)'"
_IS = "OPERATOR(pg_catalog.=)"
_IS_NOT = "OPERATOR(pg_catalog.<>)"

# Every name and operator is qualified: the question may be asked under whatever search_path a client has set.
QUESTION = f"""\
SELECT 'function', n.nspname, p.proname, p.provolatile FROM pg_catalog.pg_proc p
 JOIN pg_catalog.pg_namespace n ON n.oid {_IS} p.pronamespace WHERE n.nspname {_USERS};
SELECT 'function', n.nspname, o.oprname, p.provolatile FROM pg_catalog.pg_operator o
 JOIN pg_catalog.pg_namespace n ON n.oid {_IS} o.oprnamespace JOIN pg_catalog.pg_proc p ON p.oid {_IS} o.oprcode
 WHERE n.nspname {_USERS};
SELECT DISTINCT 'behind', v.relname, t.relname FROM pg_catalog.pg_class v
 JOIN pg_catalog.pg_namespace n ON n.oid {_IS} v.relnamespace JOIN pg_catalog.pg_rewrite r ON r.ev_class {_IS} v.oid
 JOIN pg_catalog.pg_depend d ON d.objid {_IS} r.oid JOIN pg_catalog.pg_class t ON t.oid {_IS} d.refobjid
 WHERE v.relkind {_IS} 'v' AND n.nspname {_USERS} AND t.oid {_IS_NOT} v.oid
 AND d.classid {_IS} 'pg_catalog.pg_rewrite'::pg_catalog.regclass
 AND d.refclassid {_IS} 'pg_catalog.pg_class'::pg_catalog.regclass;
SELECT 'behind', p.relname, c.relname FROM pg_catalog.pg_inherits i
 JOIN pg_catalog.pg_class p ON p.oid {_IS} i.inhparent JOIN pg_catalog.pg_class c ON c.oid {_IS} i.inhrelid
 WHERE p.relkind {_IS_NOT} 'I';
SELECT 'defined', v.relname, pg_catalog.pg_get_viewdef(v.oid) FROM pg_catalog.pg_class v
 JOIN pg_catalog.pg_namespace n ON n.oid {_IS} v.relnamespace WHERE v.relkind {_IS} 'v' AND n.nspname {_USERS};
SELECT 'policy', t.relname, pg_catalog.pg_get_expr(p.polqual, p.polrelid) FROM pg_catalog.pg_policy p
 JOIN pg_catalog.pg_class t ON t.oid {_IS} p.polrelid WHERE t.relrowsecurity AND p.polqual IS NOT NULL;
SELECT DISTINCT 'looks', t.relname, o.relname FROM pg_catalog.pg_policy p
 JOIN pg_catalog.pg_class t ON t.oid {_IS} p.polrelid JOIN pg_catalog.pg_depend d ON d.objid {_IS} p.oid
 JOIN pg_catalog.pg_class o ON o.oid {_IS} d.refobjid
 WHERE t.relrowsecurity AND o.oid {_IS_NOT} t.oid
 AND d.classid {_IS} 'pg_catalog.pg_policy'::pg_catalog.regclass
 AND d.refclassid {_IS} 'pg_catalog.pg_class'::pg_catalog.regclass;
SELECT DISTINCT 'cascade', t.relname, c.relname FROM pg_catalog.pg_constraint k
 JOIN pg_catalog.pg_class t ON t.oid {_IS} k.confrelid JOIN pg_catalog.pg_class c ON c.oid {_IS} k.conrelid
 WHERE k.contype {_IS} 'f'
 AND (k.confdeltype OPERATOR(pg_catalog.~) '[cnd]' OR k.confupdtype OPERATOR(pg_catalog.~) '[cnd]');
SELECT DISTINCT 'anything', c.relname FROM pg_catalog.pg_trigger t
 JOIN pg_catalog.pg_class c ON c.oid {_IS} t.tgrelid JOIN pg_catalog.pg_proc p ON p.oid {_IS} t.tgfoid
 JOIN pg_catalog.pg_namespace n ON n.oid {_IS} p.pronamespace
 WHERE NOT t.tgisinternal AND t.tgenabled {_IS_NOT} 'D' AND n.nspname {_IS_NOT} 'pg_catalog';
SELECT DISTINCT 'anything', c.relname FROM pg_catalog.pg_rewrite r
 JOIN pg_catalog.pg_class c ON c.oid {_IS} r.ev_class JOIN pg_catalog.pg_namespace n ON n.oid {_IS} c.relnamespace
 WHERE r.ev_type {_IS_NOT} '1' AND n.nspname {_USERS}
""".encode()
"""Gives the rows that a Catalog is made of. Reads of catalogs only, with no effect but their locks."""

_WORST = "isv"
_WHO = re.compile(rb"\b(?:CURRENT_USER|SESSION_USER|CURRENT_ROLE)\b")
_serials = itertools.count(1)

Edges = dict[str, set[str]]


class Reading(NamedTuple):
    """What stands behind the relations that a query names.

    tables: bare names of these relations and of all behind them, in order. changing: a view or a policy among them
    depends on time, chance or session in ways that a setting does not show, or reads system catalogs.
    """

    tables: tuple[str, ...]
    changing: bool


class Catalog:
    """One database's catalog, as `QUESTION` found it. Two of equal content have different serials."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.serial = next(_serials)
        """Told apart from every other Catalog of this process by this number."""
        self.rows = tuple(sorted(tuple(value or "" for value in row) for row in rows))
        functions: dict[Name, str] = {}
        self._behind: Edges = {}
        self._cascades: Edges = {}
        self._looks: Edges = {}
        self._definitions: dict[str, list[bytes]] = {}
        self._anything: set[str] = set()
        for what, *values in self.rows:
            if what == "function":
                name = (values[0], values[1])
                functions[name] = max(functions.get(name, "i"), values[2], key=_WORST.index)
            elif what == "anything":
                self._anything.add(values[0])
            elif what == "defined":
                self._definitions.setdefault(values[0], []).append(values[1].encode())
            elif what == "policy":
                text = b"SELECT " + _WHO.sub(b"''", values[1].encode())  # who asks is part of every key
                self._definitions.setdefault(values[0], []).append(text)
            else:
                edges = {"behind": self._behind, "cascade": self._cascades, "looks": self._looks}[what]
                edges.setdefault(values[0], set()).add(values[1])
        self.volatility = Volatility(functions)
        """Of the functions and operators that PostgreSQL did not bring along."""
        self._changing: dict[str, bool] = {}

    def is_pure(self, statement: Statement) -> bool:
        """Equal rows and settings give an equal result, functions of the users' own included."""
        return statement.stable and all(self.volatility.is_immutable(name) for name in statement.functions)

    def calls_unknown(self, statement: Statement) -> bool:
        """It calls functions that may write: not PostgreSQL's own, and not declared immutable."""
        return not all(
            self.volatility.is_builtin(name) or self.volatility.is_immutable(name) for name in statement.functions
        )

    def reading(self, relations: Iterable[Name]) -> Reading:
        """What stands behind relations: views are followed to their tables, parents to their partitions and children."""
        names = _closure({name for _, name in relations}, self._behind, self._looks)
        return Reading(tuple(sorted(names)), any(self._is_changing(name) for name in names))

    def writing(self, tables: Iterable[str]) -> tuple[str, ...] | None:
        """What a write to relations of these names may change; None for anything, because a trigger or rule runs.

        Views lead to their tables, parents to their partitions and children, keys to the tables they cascade to.
        """
        names = _closure(set(tables), self._behind, self._cascades)
        return None if names & self._anything else tuple(sorted(names))

    def _is_changing(self, name: str) -> bool:
        definitions = self._definitions.get(name)
        if definitions is None:
            return False
        found = self._changing.get(name)
        if found is None:
            found = self._changing[name] = any(self._rests_on_change(text) for text in definitions)
        return found

    def _rests_on_change(self, definition: bytes) -> bool:
        """A definition nobody understands counts as changing, and so does one that looks at application_name."""
        statement = classify(definition.rstrip(b"; \n"))
        system = any(schema == "information_schema" or name.startswith("pg_") for schema, name in statement.relations)
        settings = frozenset({(None, "current_setting"), ("pg_catalog", "current_setting")})
        functions = statement.functions - settings
        if system or not statement.reads or not statement.stable or b"application_name" in definition:
            return True
        return not all(self.volatility.is_immutable(function) for function in functions)


def _closure(names: set[str], *edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            for each in edges:
                todo += each.get(name, ())
    return found
