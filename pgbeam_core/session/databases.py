"""Which databases must have no other connections for a statement to succeed."""

from __future__ import annotations

import re

from pgbeam_core.api.statement import Kind, Statement

_HEAD = 4096
"""Bytes of a statement in which it names databases."""
_NAME = r"\"(?:[^\"]|\"\")+\"|[^\s\";()=,]+"
_NAMED = re.compile(rf"\b(create|drop|alter)\s+database\s+(?:if\s+exists\s+)?({_NAME})", re.IGNORECASE)
_TEMPLATE = re.compile(rf"\btemplate\s*=?\s*({_NAME})", re.IGNORECASE)
_RENAME_OR_MOVE = re.compile(r"\A\s*(rename|set\s+tablespace)\b", re.IGNORECASE)


def to_be_left(statement: Statement) -> frozenset[str]:
    """The databases that PostgreSQL wants nobody in: those dropped, renamed, moved or copied from."""
    found = set()
    for part in statement.parts or (statement,):
        if part.kind is Kind.DDL and b"database" in part.text[:_HEAD].lower():
            found |= _left(part.text[:_HEAD].decode("utf-8", "replace"))
    return frozenset(found)


def _left(definition: str) -> set[str]:
    named = _NAMED.search(definition)
    if named is None:
        return set()
    verb, name = named[1].lower(), named[2]
    rest = definition[named.end() :]
    if verb == "create":
        template = _TEMPLATE.search(rest)
        return {_folded(template.group(1)) if template else "template1"}
    return {_folded(name)} if verb == "drop" or _RENAME_OR_MOVE.match(rest) else set()


def _folded(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
