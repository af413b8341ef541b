"""Remembers why clients went."""

from collections import Counter

from pgbeam_core import Session, hookimpl

reasons: Counter[str] = Counter()


@hookimpl
def disconnect(session: Session, reason: str) -> None:
    reasons[reason] += 1
