"""Which databases must have no other connections for a statement to succeed."""

from __future__ import annotations

import re

from pgbeam_core.query import Kind, Statement

_NAME = r"\"(?:[^\"]|\"\")+\"|[^\s\";()=,]+"
_NAMED = re.compile(
    rf"\b(create|drop|alter)\s+database\s+(?:if\s+exists\s+)?({_NAME})(?=(.*))", re.IGNORECASE | re.DOTALL
)
_TEMPLATE = re.compile(rf"\btemplate\s*=?\s*({_NAME})", re.IGNORECASE)
_RENAME_OR_MOVE = re.compile(r"\A\s*(rename|set\s+tablespace)\b", re.IGNORECASE)


def to_be_left(statement: Statement) -> frozenset[str]:
    """The databases that PostgreSQL wants nobody in: those dropped, renamed, moved or copied from."""
    if not any(part.kind is Kind.DDL for part in statement.parts or (statement,)):
        return frozenset()
    if b"database" not in statement.text.lower():
        return frozenset()
    found = set()
    for verb, name, rest in _NAMED.findall(statement.text.decode("utf-8", "replace")):
        if verb.lower() == "create":
            template = _TEMPLATE.search(rest)
            found.add(_folded(template.group(1)) if template else "template1")
        elif verb.lower() == "drop" or _RENAME_OR_MOVE.match(rest):
            found.add(_folded(name))
    return frozenset(found)


def _folded(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
