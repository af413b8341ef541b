"""Caching: replies of reads, kept for a time and served without asking the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_cache.policy.cacheability import noted
from pgbeam_cache.policy.rule_files import Rule
from pgbeam_cache.serving import batches
from pgbeam_cache.serving.cache import Cache
from pgbeam_cache.settings import CacheSettings
from pgbeam_cache.surface import console_commands, explaining, metrics, selection, variables, views
from pgbeam_cache.surface.commands import COMMAND
from pgbeam_core import (
    Answer,
    Beam,
    Command,
    Explanation,
    Metric,
    PgBeamError,
    Query,
    Refusal,
    Result,
    Session,
    Statement,
    Table,
    Target,
    hookimpl,
)


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
        """Begin empty, but for the rules."""
        self._cache = Cache(beam)
        self._cache.rules.start()
        listing = lambda _: views.listing(self.cache.shapes, self.cache.rules)  # noqa: E731
        beam.control.answer("cache-rules.list", listing, merge=views.merged)
        beam.control.answer("cache-rules.set", self._set_rule)
        beam.control.answer("cache-rules.unset", self._unset_rule)
        beam.control.answer("cache-rules.rules", self._rules)
        beam.control.answer("cache.shapes", self._shapes, merge=selection.page)
        rule = lambda words: console_commands.run(self.cache.rules, words)  # noqa: E731
        beam.console.command(console_commands.WORDS, rule, console_commands.USAGE)

    @hookimpl
    def reload(self, beam: Beam) -> None:
        self.cache.reload()

    @hookimpl
    def shutdown(self, beam: Beam) -> None:
        self.cache.close()

    @hookimpl
    def variable(self, name: str, value: str | None) -> str | Refusal | None:
        return variables.check(name, value, self.cache.settings)

    @hookimpl
    def template(self, statement: Statement) -> None:
        """Note what the text alone says, whatever its literals."""
        noted(statement)

    @hookimpl
    def execute(self, session: Session, query: Query, target: Target) -> Answer | Deferred[Answer | None] | None:
        return self.cache.execute(session, query, target)

    @hookimpl
    def execute_batch(self, session: Session, queries: Sequence[Query]) -> None:
        batches.execute(self.cache, session, queries)

    @hookimpl
    def explain(self, session: Session, query: Query) -> Sequence[Explanation]:
        """Whether it is cached, why, and what is there."""
        return list(explaining.explain(self.cache, session, query))

    @hookimpl
    def result(self, session: Session, query: Query, result: Result) -> None:
        self.cache.result(session, query, result)

    @hookimpl
    def result_batch(self, session: Session, queries: Sequence[Query], results: Sequence[Result]) -> None:
        batches.result(self.cache, session, queries, results)

    @hookimpl
    def transaction_over(self, session: Session, committed: bool) -> None:
        """The writes of a transaction have happened, or have not."""
        self.cache.transaction_over(session, committed=committed)

    @hookimpl
    def disconnect(self, session: Session) -> None:
        """Let nobody wait for a client that has left."""
        self.cache.left(session)

    @hookimpl
    def stats(self) -> Mapping[str, Any]:
        """Hits, misses and all the rest."""
        return {} if self._cache is None else views.stats(self._cache)

    @hookimpl
    def metrics(self) -> Sequence[Metric]:
        return [] if self._cache is None else metrics.metrics(self._cache)

    @hookimpl
    def panel(self) -> Any:
        """The hit ratio and the top shapes."""
        if self._cache is None:
            return None
        cache = self._cache
        return views.panel(cache.counts, len(cache.store), cache.store.bytes, cache.shapes, cache.rules)

    @hookimpl
    def console(self) -> Mapping[str, Table]:
        cache = self.cache
        return {
            "CACHE": views.cache_table(views.stats(cache)),
            "RULES": views.rules_table(cache.shapes, cache.rules),
            "SHAPES": views.shapes_table(cache.shapes, cache.rules),
        }

    @hookimpl
    def commands(self) -> Sequence[Command]:
        return (COMMAND,)

    def _set_rule(self, request: Mapping[str, Any]) -> Deferred[None]:
        enabled, ttl, swr = request.get("enabled", True), request.get("ttl"), request.get("swr")
        numbers = all(value is None or type(value) is int for value in (ttl, swr))
        if not isinstance(enabled, bool) or not numbers:
            raise PgBeamError("enabled is true or false, ttl and swr are whole numbers of seconds", sqlstate="22023")
        return self.cache.rules.set(str(request.get("query_hash")), Rule(enabled, ttl, swr), self._project(request))

    def _unset_rule(self, request: Mapping[str, Any]) -> Deferred[bool]:
        alone = len(self.cache.beam.settings.projects) == 1
        return self.cache.rules.unset(str(request.get("query_hash")), self._project(request), alone=alone)

    def _shapes(self, request: Mapping[str, Any]) -> Deferred[Any]:
        selected: Deferred[Any] = selection.selected(self.cache, request)
        return selected

    def _rules(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Those that hold in a project."""
        project = self._project(request) or ""
        return views.rules_of(self.cache.shapes, self.cache.rules, project)

    def _project(self, request: Mapping[str, Any]) -> str | None:
        project = request.get("project")
        if project is None:
            return None
        if project not in self.cache.beam.settings.projects:
            raise PgBeamError(f'there is no project "{project}"', sqlstate="42704")
        return str(project)


plugin = Caching()
