"""Which functions a remembered result may rest on."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from pgbeam_core.query import Name


def _load() -> dict[str, frozenset[str]]:
    """The sections of immutable_functions.txt."""
    sections: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in files("pgbeam_core.sql").joinpath("immutable_functions.txt").read_text("utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            names = sections.setdefault(line[1:-1], set())
        elif line and not line.startswith("# "):
            names.add(line)
    return {title: frozenset(names) for title, names in sections.items()}


_SECTIONS = _load()
_TRUSTED = _SECTIONS["immutable"] | _SECTIONS["settings"]
_CHANGING = _SECTIONS["changing"]

BUILTIN_OPERATORS = _SECTIONS["operators"]
"""Spellings of the operators that PostgreSQL brings along; none of them changes by itself."""


class Volatility:
    """Tells whether a function's result depends on its arguments and on run-time settings alone.

    Without a catalog only PostgreSQL's own functions are known, all others count as volatile. An unqualified name is
    then taken for the built-in one, although a function of the same name elsewhere on the search path could be meant
    when its argument types fit better, or when the path names pg_catalog after that schema. With the database's catalog
    the doubt is gone: an unqualified name counts only if every function of that name, in any schema, is immutable.
    """

    def __init__(self, catalog: Mapping[Name, str] | None = None) -> None:
        self._catalog: dict[Name, str] = {}
        self._everywhere: dict[str, bool] = {}
        for (schema, name), letter in (catalog or {}).items():
            if schema != "pg_catalog":
                self._catalog[schema, name] = letter
                self._everywhere[name] = letter == "i" and self._everywhere.get(name, True)

    def with_catalog(self, catalog: Mapping[Name, str]) -> Volatility:
        """A Volatility that also knows the functions and operators of one database.

        catalog: (schema, name) to the worst `pg_proc.provolatile` among its overloads: i, s or v. Entries of pg_catalog
        are not needed: the built-in list, which is stricter, decides about them.
        """
        return Volatility(catalog)

    @staticmethod
    def is_builtin(name: Name) -> bool:
        """Whether a call by that name is, as far as names tell, one of PostgreSQL's own functions or operators."""
        schema, word = name
        return schema == "pg_catalog" or (schema is None and (word in _TRUSTED or word in _CHANGING))

    def is_immutable(self, name: Name) -> bool:
        """Whether a call by that name gives the same for the same arguments and settings; False when in doubt."""
        schema, word = name
        if schema == "pg_catalog":
            return word in _TRUSTED
        if schema is not None:
            return self._catalog.get(name) == "i"
        if word in _CHANGING:
            return False
        return self._everywhere.get(word, word in _TRUSTED)


BUILTIN = Volatility()
"""What can be told without a catalog."""
