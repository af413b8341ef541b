"""Sends reads that are annotated with `/* @pgbeam:replica */` to the first replica."""

from pgbeam_core import Query, Session, Target, hookimpl


@hookimpl
def route(session: Session, query: Query) -> Target | None:
    wanted = query.statement.reads and query.statement.annotation("replica") is not None
    return session.project.replicas[0] if wanted and session.project.replicas else None
