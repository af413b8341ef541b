"""Write pgbeam_core/sql/immutable_functions.txt from the catalogs of freshly made PostgreSQL servers.

    python tools/immutable_functions.py DSN DSN … > pgbeam_core/sql/immutable_functions.txt

Give one server of every major version that is supported. A name counts as immutable only if every function of that name
is, on every server given; a name that some of them lack is left out, because there it may be anybody's.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import psycopg

SETTINGS_ONLY = frozenset(
    {"array_to_json", "array_to_string", "concat", "concat_ws", "convert_from", "convert_to", "date"}
    | {"date_part", "date_trunc", "extract", "format", "generate_series", "json_agg", "json_build_array"}
    | {"json_build_object", "json_object_agg", "json_to_tsvector", "jsonb_agg", "jsonb_build_array"}
    | {"jsonb_build_object", "jsonb_object_agg", "jsonb_to_tsvector", "length", "make_timestamptz", "money"}
    | {"numeric", "overlaps", "phraseto_tsquery", "plainto_tsquery", "quote_literal", "quote_nullable"}
    | {"row_to_json", "time", "timestamp", "timestamptz", "timezone", "to_char", "to_date", "to_json"}
    | {"to_jsonb", "to_number", "to_timestamp", "to_tsquery", "to_tsvector", "ts_headline"}
    | {"websearch_to_tsquery"}
)
"""STABLE functions that rest on their arguments and on settings such as TimeZone, DateStyle, lc_numeric or
default_text_search_config alone, read one by one. Left out on purpose: age and timetz (they know what day it is),
whatever reads the catalog, and the json functions that make rows (their input may spell "now")."""

HEADER = """\
# Names of functions and operators of the schema pg_catalog, made by tools/immutable_functions.py; do not edit.
# immutable: by their arguments alone. settings: by arguments and run-time settings. changing: all others.
"""

FUNCTIONS = "SELECT proname, provolatile::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"
OPERATORS = "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace"


def main(dsns: list[str]) -> None:
    """Ask the servers and print the file."""
    letters: list[dict[str, set[str]]] = []
    operators: list[set[str]] = []
    for dsn in dsns:
        with psycopg.connect(dsn) as connection:
            found: dict[str, set[str]] = defaultdict(set)
            for name, letter in connection.execute(FUNCTIONS):
                found[name].add(letter)
            letters.append(found)
            operators.append({name for (name,) in connection.execute(OPERATORS)})
    everywhere = set.intersection(*(set(found) for found in letters))
    immutable = {name for name in everywhere if all(found[name] == {"i"} for found in letters)}
    settings = (SETTINGS_ONLY & everywhere) - immutable
    changing = {name for found in letters for name in found if found[name] != {"i"}} - settings
    sys.stdout.write(HEADER)
    for title, names in (
        ("immutable", immutable),
        ("settings", settings),
        ("changing", changing),
        ("operators", set.intersection(*operators)),
    ):
        sys.stdout.write("\n".join(["", f"[{title}]", *sorted(names), ""]))


if __name__ == "__main__":
    main(sys.argv[1:])
