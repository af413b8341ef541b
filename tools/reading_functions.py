"""Write plugins/replica/pgbeam_replica/functions.txt from the catalogs of freshly made PostgreSQL servers.

    python tools/reading_functions.py DSN DSN … > plugins/replica/pgbeam_replica/functions.txt

Give one server of every major version that is supported. A name counts only if every function of that name, on every
server given, is IMMUTABLE or STABLE (PostgreSQL lets neither write), or is one of HARMLESS.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import psycopg

HARMLESS = frozenset({"clock_timestamp", "gen_random_uuid", "pg_sleep", "pg_sleep_for", "random", "timeofday"})
"""VOLATILE functions that neither write nor care which server they run on."""
ABOUT_THE_SERVER = ("pg_", "inet_", "txid_", "current_setting")
"""STABLE functions whose names start so tell about the server or its session: the primary should be asked."""

HEADER = """\
# Names of functions of the schema pg_catalog that only read, made by tools/reading_functions.py; do not edit.
"""
FUNCTIONS = "SELECT proname, provolatile::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"


def main(dsns: list[str]) -> None:
    """Ask the servers and print the file."""
    letters: list[dict[str, set[str]]] = []
    for dsn in dsns:
        found: dict[str, set[str]] = defaultdict(set)
        with psycopg.connect(dsn) as connection:
            for name, letter in connection.execute(FUNCTIONS):
                found[name].add(letter)
        letters.append(found)
    everywhere = set.intersection(*(set(found) for found in letters))
    names = {name for name in everywhere if all(_only_reads(name, found[name]) for found in letters)}
    sys.stdout.write(HEADER + "".join(f"{name}\n" for name in sorted(names)))


def _only_reads(name: str, letters: set[str]) -> bool:
    if name in HARMLESS or letters == {"i"}:
        return True
    return "v" not in letters and not name.startswith(ABOUT_THE_SERVER)


if __name__ == "__main__":
    main(sys.argv[1:])
