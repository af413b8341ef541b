"""The trace that a query belongs to, as sqlcommenter writes it: a comment with traceparent='00-…-…-01'."""

from __future__ import annotations

import re
from typing import NamedTuple

LOOK = 1_000
"""Characters at the beginning and at the end of a text where such a comment may stand."""
_TRACEPARENT = re.compile(r"traceparent\s*=\s*'00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})'")
_SAMPLED = 1


class Parent(NamedTuple):
    """What is told about the span above."""

    trace_id: int
    span_id: int
    sampled: bool


def parent_of(sql: str) -> Parent | None:
    """That of the comment which ends the text, or else begins it; None without one, or if it is none that counts."""
    place = sql.rfind("traceparent", max(0, len(sql) - LOOK))
    if place >= 0:
        found = _in_comment(sql[max(0, len(sql) - LOOK) :].rstrip().rstrip(";").rstrip(), at_end=True)
        if found is not None:
            return found
    if sql.find("traceparent", 0, LOOK) >= 0:
        return _in_comment(sql[:LOOK].lstrip(), at_end=False)
    return None


def _in_comment(text: str, *, at_end: bool) -> Parent | None:
    if at_end:
        start = text.rfind("/*")
        comment = text[start:] if start >= 0 and text.endswith("*/") else ""
    else:
        comment = text[: text.find("*/")] if text.startswith("/*") and "*/" in text else ""
    match = _TRACEPARENT.search(comment)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    return Parent(trace_id, span_id, bool(flags & _SAMPLED)) if trace_id and span_id else None
