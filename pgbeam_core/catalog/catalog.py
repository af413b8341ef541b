"""What one database's own catalog says about reading and writing: volatility, views, partitions, cascades, policies.

Relations are meant by their bare name, whatever the schema: which schema an unqualified name means depends on the
session, and two of a name count as one. So every answer holds for all of them; it may name too much, never too little.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pgbeam_core.api.statement import OWN_PARAMETER, Kind, Name, Statement
from pgbeam_core.catalog.functions import Functions
from pgbeam_core.sql.classify import classify

Row = tuple[str | None, ...]

_WHO = re.compile(rb"\b(?:CURRENT_USER|SESSION_USER|CURRENT_ROLE)\b")
_SETTINGS = frozenset({(None, "current_setting"), ("pg_catalog", "current_setting")})
_MOST_WRITES = 10_000
"""Groups of relations that are written together, remembered with what that changes."""
_SETTERS = frozenset({"pg_settings"})
"""Views that set parameters when they are written."""
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
    """One database's catalog, as `CATALOG_QUERY` found it. Two of equal content have different serials.

    Equal `rows` mean that no definition, right, policy, role or membership of a role was changed in between.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.serial = next(_serials)
        """Told apart from every other Catalog of this process by this number."""
        self.rows = tuple(sorted(tuple(value or "" for value in row) for row in rows))
        self.functions = Functions(self.rows)
        """Those that are not built-in."""
        self._behind: Edges = {}
        self._cascades: Edges = {}
        self._looks: Edges = {}
        self._runs: dict[str, Edges] = {"read": {}, "write": {}}
        """By relation, the functions of users that are called when it is read, or written."""
        self._definitions: dict[str, list[bytes]] = {}
        self._anything: set[str] = set()
        self._sequences: set[str] = set()
        self._foreign: set[str] = set()
        self._types: set[str] = set()
        self._dated: set[str] = set()
        self.parameters: frozenset[str] = frozenset()
        """Names with a dot of parameters that functions and expressions of users may set."""
        self.has_event_triggers = False
        """Definitions run code of users."""
        for what, *values in self.rows:
            self._take(what, values)
        if self._types:
            self._types.add(OWN_PARAMETER)
        self.functions.trusts_bodies = not (self.reads_may_write or self.functions.operators_may_write)
        self._changing: dict[str, bool] = {}
        self._writing: dict[tuple[str, ...], tuple[str, ...] | None] = {}

    def _take(self, what: str, values: list[str]) -> None:
        if what in ("anything", "sequence", "foreign", "dated"):
            names = {"anything": self._anything, "sequence": self._sequences, "foreign": self._foreign}
            names.get(what, self._dated).add(values[0])
        elif what == "parameter":
            self.parameters |= {values[0]}
        elif what == "event":
            self.has_event_triggers = True
        elif what == "defined":
            self._definitions.setdefault(values[0], []).append(values[1].encode())
        elif what == "policy":
            text = b"SELECT " + _WHO.sub(b"''", values[1].encode())  # who asks is part of every key
            self._definitions.setdefault(values[0], []).append(text)
        elif what == "runs":
            self._runs[values[0]].setdefault(values[1], set()).add(values[2])
        elif what == "type":
            self._types.add(values[0])
            if len(values) > 1 and values[1]:
                # A constant that meets a column of such a type becomes one of that type, wherever they meet.
                self._runs["read"].setdefault(values[1], set()).add("")
        elif what in ("behind", "cascade", "looks"):
            edges = {"behind": self._behind, "cascade": self._cascades, "looks": self._looks}[what]
            edges.setdefault(values[0], set()).add(values[1])

    @property
    def reads_may_write(self) -> bool:
        """Whether a read may write though its text calls no function of users."""
        known = self.functions
        called = set().union(known.fields, *self._runs["read"].values())
        return known.suspicious or bool(self._types) or any(known.may_write(name) for name in called)

    @property
    def has_checked_types(self) -> bool:
        """Whether code of users may run because a constant becomes a value of some type."""
        return self.functions.suspicious or bool(self._types)

    # Reading.

    def is_pure(self, statement: Statement) -> bool:
        """Equal rows and settings give an equal result, functions of the users' own included."""
        return statement.stable and self._depends_on_rows_only(statement, statement.functions)

    def _depends_on_rows_only(self, statement: Statement, functions: Iterable[Name]) -> bool:
        known = self.functions
        return (
            not known.suspicious
            and statement.dated <= self._dated
            and statement.types.isdisjoint(self._types)
            and all(known.is_pure(name) for name in functions)
            and all(known.is_pure((None, name)) for name in statement.fields & known.fields)
        )

    def reading(self, relations: Iterable[Name]) -> Reading:
        """What stands behind relations: views are followed to their tables, parents to partitions and children."""
        names = _closure({name for _, name in relations}, self._behind, self._looks)
        return Reading(tuple(sorted(names)), any(self._is_changing(name) for name in names))

    # Writing, and all else that code of users may do.

    def writing(self, tables: tuple[str, ...]) -> tuple[str, ...] | None:
        """What a write to relations of these names may change; None for anything, because code of users runs.

        Views lead to their tables, parents to their partitions and children, keys to the tables they cascade to.
        """
        if tables not in self._writing:
            if len(self._writing) >= _MOST_WRITES:
                self._writing.clear()
            self._writing[tables] = self._written(tables)
        return self._writing[tables]

    def _written(self, tables: Iterable[str]) -> tuple[str, ...] | None:
        names = _closure(set(tables), self._behind, self._cascades)
        if self.functions.suspicious or names & self._anything:
            return None
        called = self._called(names, written=True)
        return None if any(self.functions.may_write(name) for name in called) else tuple(sorted(names))

    def runs_code(self, statement: Statement) -> bool:
        """Whether SELECT, INSERT, UPDATE, DELETE, MERGE or COPY runs code of users, which may do anything.

        By its text (functions, operators, types, fields that are calls in disguise), or by what it reads and writes:
        views, policies, defaults, checks, indexes, triggers, rules, foreign tables.
        """
        known = self.functions
        if known.suspicious or self._defines_with_code(statement) or not statement.types.isdisjoint(self._types):
            return True
        if any(known.is_code(name) for name in self._named(statement)):
            return True
        read, written = self._touched(statement)
        if (read | written) & self._foreign or written & (self._anything | _SETTERS):
            return True
        return bool(self._called(read, written=False) or self._called(written, written=True))

    def may_write(self, statement: Statement) -> bool:
        """Whether it runs code of users that may change relations which neither the text nor a cascade names."""
        known = self.functions
        if known.suspicious or self._defines_with_code(statement) or not statement.types.isdisjoint(self._types):
            return True
        if any(known.is_code(name) and known.may_write(name[1]) for name in self._named(statement)):
            return True
        read, written = self._touched(statement)
        called = self._called(read, written=False) | self._called(written, written=True)
        return bool(written & self._anything) or any(known.may_write(name) for name in called)

    def _defines_with_code(self, statement: Statement) -> bool:
        if not self.has_event_triggers:
            return False
        return statement.kind is Kind.DDL or (statement.kind is Kind.SELECT and bool(statement.writes))  # by its INTO

    def _named(self, statement: Statement) -> list[Name]:
        return [*statement.functions, *((None, name) for name in statement.fields & self.functions.fields)]

    def _touched(self, statement: Statement) -> tuple[set[str], set[str]]:
        """The relations that it reads and those that it writes, all behind them included."""
        read = _closure({name for _, name in statement.relations}, self._behind, self._looks)
        return read, _closure({name for _, name in statement.writes}, self._behind, self._cascades, self._looks)

    def _called(self, relations: set[str], *, written: bool) -> set[str]:
        """What runs when these are read; what is written is read too."""
        found: set[str] = set()
        for edges in (self._runs["read"], self._runs["write"]) if written else (self._runs["read"],):
            for name in edges.keys() & relations:
                found |= edges[name]
        return found

    # Views and policies.

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
        if system or not statement.reads or not statement.stable or b"application_name" in definition:
            return True
        return not self._depends_on_rows_only(statement, statement.functions - _SETTINGS)


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
