"""From a text to a Statement, with everything that the text alone can tell."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import TypeVar

from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.sql.bounds import Bounded, bounded
from pgbeam_core.sql.facts import Facts
from pgbeam_core.sql.kinds import facts_of
from pgbeam_core.sql.tree import Node, Unparsable, parse

_T = TypeVar("_T")
_MOST_PARTS = 200
"""Statements of one text that are told apart; each costs 20 µs, and as much again when it ends."""
_LISTED = frozenset({Kind.SELECT, Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.MERGE})
"""What may be judged by a text from which values were left out."""


def classify(sql: bytes) -> Statement:
    """Analyse a text that holds no annotations. Never raises: a text beyond understanding gives Kind.UNKNOWN.

    So does one that would take too long: see `bounds`.
    """
    bound = bounded(sql)
    if bound is None:
        return unknown(sql)
    collecting = gc.isenabled()
    gc.disable()  # a tree has thousands of nodes and no cycles: the collector would look at everything because of it
    try:
        return _classified(sql, bound)
    finally:
        if collecting:
            gc.enable()


def _classified(sql: bytes, bound: Bounded) -> Statement:
    try:
        raw = parse(bound.text)
        if len(raw) == 1:
            found = _statement(sql, facts_of(raw[0]["stmt"]))
            return _with_lists(found, bound) if bound.left_out else found
        if bound.left_out or len(raw) > _MOST_PARTS:
            return unknown(sql)
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


def _with_lists(found: Statement, bound: Bounded) -> Statement:
    """The verdict on the whole text, from that on what was parsed of it."""
    if found.kind not in _LISTED or found.settings or found.drops:
        return unknown(found.text)
    found.stable = found.stable and not bound.changing
    return found


def _slice(sql: bytes, raw: Node) -> bytes:
    start = raw.get("stmt_location", 0)
    length = raw.get("stmt_len", 0)
    return sql[start : start + length if length else len(sql)].strip()


def _statement(text: bytes, facts: Facts) -> Statement:
    return Statement(
        text,
        facts.kind,
        reads=facts.reads,
        stable=facts.kind is Kind.SELECT and not facts.changing and facts.dated.isdisjoint(facts.aliases),
        relations=frozenset(facts.relations),
        writes=frozenset(facts.writes),
        writes_unknown=facts.writes_unknown,
        functions=frozenset(facts.functions),
        makes=frozenset(facts.makes),
        drops=frozenset(facts.drops),
        settings=tuple(facts.settings),
        subject=facts.subject,
        fields=frozenset(facts.fields),
        types=frozenset(facts.types),
        dated=frozenset(facts.dated),
        boundary=facts.boundary,
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
        fields=_all(part.fields for part in parts),
        types=_all(part.types for part in parts),
        dated=_all(part.dated for part in parts),
    )


def _all(sets: Iterable[frozenset[_T]]) -> frozenset[_T]:
    return frozenset[_T]().union(*sets)
