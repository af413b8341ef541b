"""Counts logins by role."""

from collections import Counter

from pgbeam_core import Session, hookimpl

logins: Counter[str] = Counter()


@hookimpl
def authenticated(session: Session) -> None:
    logins[session.user] += 1
