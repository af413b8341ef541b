"""One line for people from what the plugins said about a query."""

from __future__ import annotations

from collections.abc import Mapping

ORDER = (
    "cache",
    "age",
    "ttl",
    "swr",
    "reason",
    "replica",
    "upstream",
    "pinned",
    "shared",
    "waited",
    "server_time",
)
_KNOWN = frozenset(ORDER)


def line(facts: Mapping[str, str]) -> str:
    """`cache=miss upstream=db:5432 …`: known facts in their order, then the others by name."""
    keys = [key for key in ORDER if key in facts]
    keys += sorted(key for key in facts if key not in _KNOWN)
    return " ".join(f"{key}={facts[key]}" for key in keys)
