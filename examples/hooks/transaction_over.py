"""Collects what a transaction wrote to, and believes it when it has committed."""

from pgbeam_core import Note, Query, Result, Session, hookimpl

PENDING = Note[set[str]]("example")
changed: set[str] = set()


@hookimpl
def result(session: Session, query: Query, result: Result) -> None:
    tables = {name for _schema, name in query.statement.writes}
    if result.error is None and tables:
        if result.committed:
            changed.update(tables)
        else:
            PENDING.put(session, (PENDING.of(session) or set()) | tables)


@hookimpl
def transaction_over(session: Session, committed: bool) -> None:
    tables = PENDING.take(session) or set()
    if committed:
        changed.update(tables)
