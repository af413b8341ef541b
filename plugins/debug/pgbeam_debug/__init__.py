"""Debug notices: what PgBeam did with a query, and why."""

from __future__ import annotations

from collections.abc import Sequence

from pgbeam_core import Notice, Query, Refusal, Result, Session, hookimpl
from pgbeam_debug.facts import line
from pgbeam_debug.variables import boolean


class Debug:
    """One notice for each query of a session that has asked for it."""

    @hookimpl
    def variable(self, name: str, value: str | None) -> str | Refusal | None:
        if name != "debug":
            return None
        return boolean("pgbeam.debug", value) if value is not None else "off"

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> list[Notice] | None:
        """What was done with the query, and what was wrong with its annotations."""
        if session.variable("debug") != "on":
            return None
        return notices(session, query, result)

    @hookimpl
    def result_batch(
        self, session: Session, queries: Sequence[Query], results: Sequence[Result]
    ) -> list[list[Notice]] | None:
        if session.variable("debug") != "on":
            return None
        return [notices(session, query, result) for query, result in zip(queries, results, strict=True)]


def notices(session: Session, query: Query, result: Result) -> list[Notice]:
    """The notices for one execution."""
    facts = dict(query.facts)
    if result.source == "server" and session.lease is not None:
        # A query inside a transaction finds its server leased already.
        facts.setdefault("upstream", session.lease.server.target.address)
    if session.pins:
        facts["pinned"] = ",".join(sorted(session.pins))
    if result.server_time > 0:
        facts["server_time"] = f"{result.server_time * 1000:.1f}ms"
    said = [Notice(f"pgbeam: {line(facts)}")] if facts else []
    return said + [Notice(f"pgbeam: annotation ignored: {problem}") for problem in query.statement.problems]


plugin = Debug()
