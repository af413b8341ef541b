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

_USERS = "!~ '^(pg_|information_schema$)'"

QUESTION = f"""\
SELECT WHERE pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true) IS NULL;
SELECT 'function', nspname, proname, provolatile FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
 WHERE nspname {_USERS};
SELECT 'function', nspname, oprname, provolatile FROM pg_operator JOIN pg_namespace n ON n.oid = oprnamespace
 JOIN pg_proc p ON p.oid = oprcode WHERE nspname {_USERS};
SELECT DISTINCT 'behind', v.relname, t.relname FROM pg_class v JOIN pg_namespace n ON n.oid = v.relnamespace
 JOIN pg_rewrite r ON r.ev_class = v.oid JOIN pg_depend d ON d.objid = r.oid JOIN pg_class t ON t.oid = d.refobjid
 WHERE v.relkind = 'v' AND nspname {_USERS} AND t.oid <> v.oid
 AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass;
SELECT 'behind', p.relname, c.relname FROM pg_inherits JOIN pg_class p ON p.oid = inhparent
 JOIN pg_class c ON c.oid = inhrelid WHERE p.relkind <> 'I';
SELECT 'defined', relname, pg_get_viewdef(v.oid) FROM pg_class v JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind = 'v' AND nspname {_USERS};
SELECT 'policy', relname, pg_get_expr(polqual, polrelid) FROM pg_policy JOIN pg_class t ON t.oid = polrelid
 WHERE relrowsecurity AND polqual IS NOT NULL;
SELECT DISTINCT 'looks', t.relname, o.relname FROM pg_policy p JOIN pg_class t ON t.oid = polrelid
 JOIN pg_depend d ON d.objid = p.oid JOIN pg_class o ON o.oid = d.refobjid
 WHERE t.relrowsecurity AND o.oid <> t.oid
 AND d.classid = 'pg_policy'::regclass AND d.refclassid = 'pg_class'::regclass;
SELECT DISTINCT 'cascade', t.relname, c.relname FROM pg_constraint JOIN pg_class t ON t.oid = confrelid
 JOIN pg_class c ON c.oid = conrelid WHERE contype = 'f' AND (confdeltype ~ '[cnd]' OR confupdtype ~ '[cnd]');
SELECT DISTINCT 'anything', relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
 JOIN pg_proc p ON p.oid = tgfoid JOIN pg_namespace n ON n.oid = pronamespace
 WHERE NOT tgisinternal AND tgenabled <> 'D' AND nspname <> 'pg_catalog';
SELECT DISTINCT 'anything', relname FROM pg_rewrite JOIN pg_class c ON c.oid = ev_class
 JOIN pg_namespace n ON n.oid = relnamespace WHERE ev_type <> '1' AND nspname {_USERS};
SELECT 'sequence', relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind = 'S' AND nspname {_USERS};
SELECT 'version', 'relations', sum(hashtext(concat_ws(' ', c.oid, c.xmin, a.attnum, a.xmin))::bigint)
 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace LEFT JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0
 WHERE relkind IN ('r', 'v', 'm', 'f', 'p') AND nspname {_USERS};
SELECT 'version', 'policies', sum(hashtext(concat_ws(' ', oid, xmin))::bigint) FROM pg_policy;
SELECT 'version', 'schemas', sum(hashtext(concat_ws(' ', oid, xmin))::bigint) FROM pg_namespace WHERE nspname {_USERS};
SELECT 'version', 'members', sum(hashtext(concat_ws(' ', roleid, member, xmin))::bigint) FROM pg_auth_members;
SELECT 'version', 'roles', sum(hashtext(concat_ws(' ', oid, rolname, rolsuper, rolbypassrls, rolinherit))::bigint)
 FROM pg_roles
""".encode()
"""Gives the rows that a Catalog is made of. Reads of catalogs only, one transaction, with no effect but their locks.

The first statement holds to the end of that transaction: whatever operators and functions a client has put in front of
PostgreSQL's, also for those that pg_get_viewdef uses, they are not used. It must be sent as one simple Query.
"""

_WORST = "isv"
_WHO = re.compile(rb"\b(?:CURRENT_USER|SESSION_USER|CURRENT_ROLE)\b")
_serials = itertools.count(1)

Edges = dict[str, set[str]]


class Reading(NamedTuple):
    """What stands behind the relations that a query names.

    tables: bare names of these relations and of all behind them, in order. changing: a view or a policy among them
    depends on time, chance or session in ways that a setting does not show, or reads system catalogs; or there is a
    sequence among them.
    """

    tables: tuple[str, ...]
    changing: bool


class Catalog:
    """One database's catalog, as `QUESTION` found it. Two of equal content have different serials.

    Equal `rows` mean that no relation, column, right, policy or membership of a role was changed in between.
    """

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
        self._sequences: set[str] = set()
        for what, *values in self.rows:
            if what == "function":
                name = (values[0], values[1])
                functions[name] = max(functions.get(name, "i"), values[2], key=_WORST.index)
            elif what == "anything":
                self._anything.add(values[0])
            elif what == "sequence":
                self._sequences.add(values[0])
            elif what == "version":
                continue  # it tells catalogs apart, and says nothing
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
        """What stands behind relations: views are followed to their tables, parents to partitions and children."""
        names = _closure({name for _, name in relations}, self._behind, self._looks)
        return Reading(tuple(sorted(names)), any(self._is_changing(name) for name in names))

    def writing(self, tables: Iterable[str]) -> tuple[str, ...] | None:
        """What a write to relations of these names may change; None for anything, because a trigger or rule runs.

        Views lead to their tables, parents to their partitions and children, keys to the tables they cascade to.
        """
        names = _closure(set(tables), self._behind, self._cascades)
        return None if names & self._anything else tuple(sorted(names))

    def _is_changing(self, name: str) -> bool:
        if name in self._sequences:
            return True  # other statements than writes to it move it on
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
