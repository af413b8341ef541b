"""Caching: replies of reads, kept for a time and served without asking the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_cache import variables
from pgbeam_cache.cache import Cache, noted
from pgbeam_cache.settings import CacheSettings
from pgbeam_core import Answer, Beam, Query, Refusal, Result, Session, Statement, Target, hookimpl


class Caching:
    """Brings the hooks to the cache of the running PgBeam."""

    def __init__(self) -> None:
        self._cache: Cache | None = None

    @property
    def cache(self) -> Cache:
        """There is one from startup on."""
        if self._cache is None:
            raise RuntimeError("the cache has not been started")
        return self._cache

    @hookimpl
    def settings_spec(self) -> type:
        """What is cached, how long and how much."""
        return CacheSettings

    @hookimpl
    def startup(self, beam: Beam) -> None:
        """Begin empty."""
        self._cache = Cache(beam)

    @hookimpl
    def shutdown(self, beam: Beam) -> None:
        """End refreshes, forget everything."""
        self.cache.close()

    @hookimpl
    def variable(self, name: str, value: str | None) -> str | Refusal | None:
        """pgbeam.cache, pgbeam.cache_ttl, pgbeam.cache_swr."""
        return variables.check(name, value, self.cache.settings)

    @hookimpl
    def parse(self, statement: Statement) -> None:
        """Note what the text alone says."""
        noted(statement)

    @hookimpl
    def execute(self, session: Session, query: Query, target: Target) -> Answer | Deferred[Answer | None] | None:
        """Answer from the cache."""
        return self.cache.execute(session, query, target)

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> None:
        """Keep replies; see writes."""
        self.cache.result(session, query, result)

    @hookimpl
    def transaction_over(self, session: Session, committed: bool) -> None:
        """The writes of a transaction have happened, or have not."""
        self.cache.over(session, committed=committed)

    @hookimpl
    def disconnect(self, session: Session) -> None:
        """Let nobody wait for a client that has left."""
        self.cache.left(session)

    @hookimpl
    def stats(self) -> Mapping[str, Any]:
        """Hits, misses and all the rest."""
        return {} if self._cache is None else self._cache.stats()


plugin = Caching()
