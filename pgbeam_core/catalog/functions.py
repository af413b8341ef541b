"""The functions, aggregates and operators of one database that are not built-in: what they may do.

What they are declared to be is believed as far as their bodies do not speak against it. Names are bare, or with a
schema: a bare one counts for all that have it, for the search path decides which is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pgbeam_core.api.statement import Name
from pgbeam_core.sql.classify import classify
from pgbeam_core.sql.volatility import BUILTIN, RUNS_SQL

_READS = re.compile(r"\b(?:select|from|perform|execute|call|table|query|values|open|fetch|cursor)\b", re.IGNORECASE)
"""In the body of a PL/pgSQL function: what may read tables."""
_NO_READ = re.compile(r"\bdistinct\s+from\b|\bextract\s*\(\s*\w+\s+from\b|--[^\n]*", re.IGNORECASE)
_CALLS = re.compile(r"([^\W\d][\w$]*)\"?\s*\(")
_CLOCK = re.compile(
    r"\b(?:current_(?:date|time|timestamp|user|role|schema|catalog)|localtime(?:stamp)?|session_user|user|now|today"
    r"|tomorrow|yesterday|timestamp\w*|date|time\w*)\b",
    re.IGNORECASE,
)
"""In a body: values that depend on the moment or on who asks, and types whose input may."""
_NOT_CALLS = frozenset({"if", "elsif", "while", "and", "or", "not", "in", "return", "when", "then", "case", "numeric"})


class _Function:
    """All functions of one name in one schema, at their worst."""

    __slots__ = ("bodies", "calls", "code", "declared", "writes")

    def __init__(self) -> None:
        self.declared = "i"
        self.code = False
        self.writes = False
        self.calls: set[str] = set()
        """The names of functions among these that it calls."""
        self.bodies: list[tuple[str, str]] = []
        """(language, body) of those that say they are immutable."""


class Functions:
    """Made from the rows of a Catalog."""

    def __init__(self, rows: Iterable[tuple[str, ...]]) -> None:
        self._by_schema: dict[Name, _Function] = {}
        self._by_name: dict[str, list[_Function]] = {}
        self.fields: set[str] = set()
        """Those that `relation.field` may mean."""
        self.suspicious = False
        """Code of users runs that no text shows: behind casts, operators that look like PostgreSQL's, sorting …"""
        self._operators: list[_Function] = []
        self.trusts_bodies = True
        """What a body calls can be seen in it: nothing that writes is behind its operators, casts, fields and views."""
        for what, *values in rows:
            self._take(what, values)
        self._spread_writes()
        self._pure: dict[int, bool] = {}

    def _take(self, what: str, values: list[str]) -> None:
        if what == "function":
            found = self._entry((values[0], values[1]))
            found.declared = max(found.declared, values[2], key="isv".index)
        elif what == "code":
            schema, name, _volatility, language, writes, calls, body = values
            found = self._entry((schema, name))
            found.code = True
            found.writes = found.writes or bool(writes)
            found.calls.update(calls.split())
            if _volatility == "i" and language != "c":
                found.bodies.append((language, body))
        elif what in ("aggregate", "default"):
            found = self._entry((values[0], values[1]))
            if values[2]:
                found.calls.add(values[2].lower())
        elif what == "operator":
            schema, name, function, letter, own = values
            self._operator(schema, name, function, letter, own=bool(own))
        elif what == "field":
            self.fields.add(values[0])
        elif what == "hidden":
            self.suspicious = True

    def _operator(self, schema: str, name: str, function: str, letter: str, *, own: bool) -> None:
        found = self._entry((schema, name))
        self._operators.append(found)
        if own:
            found.calls.add(function.lower())
        else:
            found.declared = max(found.declared, letter, key="isv".index)

    def _entry(self, name: Name) -> _Function:
        found = self._by_schema.get(name)
        if found is None:
            found = self._by_schema[name] = _Function()
            self._by_name.setdefault(name[1], []).append(found)
            folded = name[1].lower()
            if folded != name[1]:
                self._by_name.setdefault(folded, []).append(found)
        return found

    def _spread_writes(self) -> None:
        """Who calls one that may write may write, and who calls code runs code."""
        todo = [function for function in self._by_schema.values() if function.calls]
        while True:
            spread = False
            for function in todo:
                called = [each for name in function.calls for each in self._by_name.get(name, ())]
                writes = function.writes or any(each.writes for each in called)
                code = function.code or any(each.code for each in called)
                if (writes, code) != (function.writes, function.code):
                    function.writes, function.code, spread = writes, code, True
            if not spread:
                return

    def _meant(self, name: Name) -> list[_Function]:
        schema, word = name
        if schema is None:
            return self._by_name.get(word, [])
        found = self._by_schema.get(name)
        return [] if found is None else [found]

    def is_code(self, name: Name) -> bool:
        """Whether a call by that name may run code of users: it does so too where nobody knows the name."""
        meant = self._meant(name)
        return any(each.code for each in meant) if meant else not BUILTIN.is_builtin(name) or name[1] in RUNS_SQL

    @property
    def operators_may_write(self) -> bool:
        """Whether there is an operator of users behind which is a function that may write."""
        return any(each.writes for each in self._operators)

    def may_write(self, name: str) -> bool:
        """Whether a function of that bare name, known as code, may write tables; true of one that is not known."""
        meant = self._by_name.get(name)
        if not meant:
            return name not in _LEAVES_NO_ROWS
        return any(each.writes or (each.code and not (self.trusts_bodies or self._is_pure(each))) for each in meant)

    def is_pure(self, name: Name) -> bool:
        """Whether a call by that name gives the same for the same arguments and settings; False when in doubt."""
        meant = self._meant(name)
        if name[0] is None and BUILTIN.is_builtin(name) and not BUILTIN.is_immutable(name):
            return False
        return all(self._is_pure(each) for each in meant) if meant else BUILTIN.is_immutable(name)

    def _is_pure(self, function: _Function) -> bool:
        found = self._pure.get(id(function))
        if found is None:
            self._pure[id(function)] = False  # for one that calls itself
            found = self._pure[id(function)] = function.declared == "i" and self._bears_out(function)
        return found

    def _bears_out(self, function: _Function) -> bool:
        called = [each for name in function.calls for each in self._by_name.get(name, ())]
        if not all(self._is_pure(each) for each in called):
            return False
        return all(self._is_pure_body(language, body) for language, body in function.bodies)

    def _is_pure_body(self, language: str, body: str) -> bool:
        if not body or language not in ("sql", "plpgsql"):
            return False  # too long, or beyond understanding
        if language == "sql":
            statement = classify(body.rstrip("; \n\t").encode())
            known = statement.reads and statement.stable and not statement.relations and not statement.dated
            return known and all(self._is_immutable(name) for name in statement.functions)
        plain = _NO_READ.sub(" ", body)
        if _READS.search(plain) or _CLOCK.search(plain):
            return False
        called = {name.lower() for name in _CALLS.findall(plain)} - _NOT_CALLS
        return all(self._is_immutable((None, name)) for name in called)

    def _is_immutable(self, name: Name) -> bool:
        return bool(self._meant(name)) or BUILTIN.is_immutable(name)


_LEAVES_NO_ROWS = frozenset(
    {
        *("set_config", "setseed", "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock"),
        *("pg_try_advisory_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all"),
        *("pg_create_logical_replication_slot", "pg_create_physical_replication_slot", "pg_backup_start"),
        *("pg_copy_logical_replication_slot", "pg_copy_physical_replication_slot", "pg_start_backup"),
        *("pg_replication_origin_session_setup", "pg_replication_origin_session_reset"),
    }
)
"""PostgreSQL's own that leave something in the session, and nothing in tables."""
