"""From a text to a Statement, with everything that the text alone can tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pgbeam_core.query import Kind, Statement
from pgbeam_core.sql.facts import Facts
from pgbeam_core.sql.kinds import facts_of
from pgbeam_core.sql.tree import Node, Unparsable, parse

_T = TypeVar("_T")


def classify(sql: bytes) -> Statement:
    """Analyse a text that holds no annotations. Never raises: a text beyond understanding gives Kind.UNKNOWN."""
    try:
        raw = parse(sql)
        if len(raw) == 1:
            return _statement(sql, facts_of(raw[0]["stmt"]))
        parts = tuple(_statement(_slice(sql, one), facts_of(one["stmt"])) for one in raw)
    except Unparsable:
        return unknown(sql)
    # The grammar knows every statement type of its version; a tree of another shape than expected is not understood.
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return unknown(sql)
    return _union(sql, parts) if parts else Statement(sql, Kind.EMPTY)


def unknown(sql: bytes) -> Statement:
    """The careful verdict on a text that only the server understands, if anyone."""
    return Statement(sql, Kind.UNKNOWN, writes_unknown=True, makes=frozenset({"unknown"}))


def _slice(sql: bytes, raw: Node) -> bytes:
    start = raw.get("stmt_location", 0)
    length = raw.get("stmt_len", 0)
    return sql[start : start + length if length else len(sql)].strip()


def _statement(text: bytes, facts: Facts) -> Statement:
    return Statement(
        text,
        facts.kind,
        reads=facts.reads,
        stable=facts.kind is Kind.SELECT and not facts.changing,
        relations=frozenset(facts.relations),
        writes=frozenset(facts.writes),
        writes_unknown=facts.writes_unknown,
        functions=frozenset(facts.functions),
        makes=frozenset(facts.makes),
        drops=frozenset(facts.drops),
        settings=tuple(facts.settings),
        subject=facts.subject,
    )


def _union(sql: bytes, parts: tuple[Statement, ...]) -> Statement:
    """A MULTI that does what all its parts may do, and is only what all of them are."""
    return Statement(
        sql,
        Kind.MULTI,
        parts=parts,
        reads=all(part.reads for part in parts),
        stable=all(part.stable for part in parts),
        relations=_all(part.relations for part in parts),
        writes=_all(part.writes for part in parts),
        writes_unknown=any(part.writes_unknown for part in parts),
        functions=_all(part.functions for part in parts),
        makes=_all(part.makes for part in parts),
        drops=_all(part.drops for part in parts),
        settings=tuple(change for part in parts for change in part.settings),
    )


def _all(sets: Iterable[frozenset[_T]]) -> frozenset[_T]:
    return frozenset[_T]().union(*sets)
