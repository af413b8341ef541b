"""Which functions a remembered result may rest on."""

from __future__ import annotations

from importlib.resources import files

from pgbeam_core.api.statement import Name


def _load() -> dict[str, frozenset[str]]:
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
"""Spellings of the built-in operators; none of them changes by itself."""


RUNS_SQL = frozenset(
    {
        *("query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "cursor_to_xml", "cursor_to_xmlschema"),
        *("table_to_xml", "table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xml_and_xmlschema"),
        *("database_to_xml", "database_to_xml_and_xmlschema", "ts_stat", "ts_rewrite"),
        *("pg_input_is_valid", "pg_input_error_info", "domain_in", "array_in", "record_in", "range_in"),
        *("multirange_in", "brin_summarize_new_values", "brin_summarize_range"),
    }
)
"""PostgreSQL's own functions that run a query, or the checks of a type that a text names: these may call anything."""


class Volatility:
    """Tells whether the result of PostgreSQL's own functions depends on their arguments and on settings alone.

    An unqualified name is taken for the built-in one, although a function of the same name elsewhere on the search path
    could be meant when its argument types fit better, or when the path names pg_catalog after that schema. With the
    database's catalog the doubt is gone, see `Functions`. All other functions count as volatile.
    """

    @staticmethod
    def is_builtin(name: Name) -> bool:
        """Whether a call by that name is, as far as names tell, one of PostgreSQL's own, and runs no other."""
        schema, word = name
        if word in RUNS_SQL:
            return False
        return schema == "pg_catalog" or (schema is None and (word in _TRUSTED or word in _CHANGING))

    @staticmethod
    def is_immutable(name: Name) -> bool:
        """Whether a call by that name gives the same for the same arguments and settings; False when in doubt."""
        schema, word = name
        return schema in (None, "pg_catalog") and word in _TRUSTED


BUILTIN = Volatility()
"""What can be told without a catalog."""
