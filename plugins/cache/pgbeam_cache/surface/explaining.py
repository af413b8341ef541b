"""What the cache would do with a query, and why: for `/* @pgbeam:explain */`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pgbeam_cache.policy import keys
from pgbeam_cache.policy.cacheability import digest, noted
from pgbeam_cache.storage.store import Entry
from pgbeam_cache.surface.views import in_words
from pgbeam_core import Explanation, Query, Role, Session

if TYPE_CHECKING:
    from pgbeam_cache.policy.terms import Terms
    from pgbeam_cache.serving.cache import Cache

REASONS = {
    "annotation": "its annotation says noCache",
    "catalog": "it reads system catalogs, which change unseen",
    "cursor": "it is about a cursor",
    "encoding": "texts in the client's encoding cannot be taken apart",
    "locking": "it locks rows",
    "multi": "it is several statements in one text",
    "off": "nothing asks for it: no annotation, no rule, no session variable, and plugins.cache.enabled is off",
    "pipeline": "it is not alone in its request, or not all of its rows are asked for",
    "restart": "PgBeam restarts, and its old process may write what nobody sees here",
    "rule": "the rule for its shape is off",
    "session": "the session has set pgbeam.cache = off",
    "size": "its parameters are too large for a key",
    "state": "the session has something on its server that may change what it sees",
    "temp": "it reads a temporary table",
    "transaction": "it is inside a transaction that is real on a server",
    "ttl": "its TTL and SWR are 0",
    "unknown": "it is not understood, or the catalog of its database is not known yet",
    "utility": "it is no query",
    "volatile": "its result may change from one moment to the next, as far as is known",
    "write": "it may write",
}
"""Why a query bypasses the cache, by the word in debug notices."""
_PARTS = ("project", "server", "user", "database", "startup parameters", "role", "settings")


def explain(cache: Cache, session: Session, query: Query) -> Iterator[Explanation]:
    """Rows about the cache. Nothing is counted, asked for or kept."""
    statement, settings = query.statement, cache.settings
    note = noted(statement)
    project = session.project.name
    rule = cache.rules.of(project).get(statement.query_hash)
    why = "it stands for this shape" if rule is not None else "there is none for this shape"
    agreed = cache.agreed(session, query, note, settings)
    reason = agreed if isinstance(agreed, str) else _by_catalog(cache, session, query)
    yield Explanation(
        "cacheable", "no" if reason else "yes", REASONS.get(reason, reason) if reason else _asked(session, query)
    )
    shape = cache.shapes.get(statement.query_hash, project)
    if shape is not None:
        times = (
            f"{shape.average * 1000:.3f} ms on a server on average, p95 {shape.latency.quantile(0.95) * 1000:.3f} ms"
        )
        hits = f"{shape.calls} calls so far, {shape.hits} of them answered by the cache"
        yield Explanation("so far", times, f"{hits}; recommendation for a rule: {shape.recommendation}")
    yield Explanation("rule", None if rule is None else in_words(rule), why)
    if reason or isinstance(agreed, str):
        return
    ttl, swr = agreed
    yield Explanation("terms", f"ttl={ttl}s swr={swr}s", "fresh for ttl, then served for swr while it is refreshed")
    role = Role.PRIMARY if query.target is None else query.target.role
    scope = cache.state_of(session).scope
    parts = keys.parts(scope.of(role), digest(statement, note), query)
    key = keys.key(scope.of(role), digest(statement, note), query)
    hexes = [part.hex()[:8] for part in (parts.text, parts.bound, parts.scope)]
    yield Explanation("key", key.hex()[:16], "text {}, parameters {}, scope {}".format(*hexes))
    entry = cache.store.get(key)
    yield _found(cache, entry, agreed)
    if entry is None:
        nearest = _nearest(cache, parts)
        if nearest is not None:
            differs = _differs(cache, parts, nearest, scope.describes(role))
            yield Explanation("nearest entry", nearest.key.hex()[:16], differs)


def _by_catalog(cache: Cache, session: Session, query: Query) -> str | None:
    note, state = noted(query.statement), cache.state_of(session)
    catalog = None if note.names_nothing else state.survey.catalog(session, cache.settings.rights_check_s)
    if catalog is None and not note.names_nothing:
        return "unknown"
    return note.seen(query.statement, catalog).reason


def _asked(session: Session, query: Query) -> str:
    if query.statement.annotation("cache") is not None:
        return "its annotation asks for it"
    if session.variable("cache") == "on":
        return "the session has set pgbeam.cache = on, or a rule stands for it"
    return "its rule, or plugins.cache.enabled, asks for it"


def _found(cache: Cache, entry: Entry | None, terms: Terms) -> Explanation:
    if entry is None:
        return Explanation("cache", "miss", "no reply is kept under this key in this process")
    age, (ttl, swr) = cache.beam.now() - entry.born, terms
    word = "hit" if age < ttl else "stale" if age < ttl + swr else "miss"
    read = ", ".join(entry.tables) or "no table"
    return Explanation("cache", word, f"a reply of {entry.size} bytes is {age:.1f} s old, and was read from {read}")


def _nearest(cache: Cache, parts: keys.Parts) -> Entry | None:
    """The entry that has most of the parts; the text above all."""
    best, most = None, 0
    for entry in cache.store:
        theirs = None if entry.parts is None else keys.Parts(*entry.parts)
        if theirs is None or theirs.text != parts.text:
            continue
        equal = 1 + (theirs.scope == parts.scope) + (theirs.bound == parts.bound)
        if equal > most:
            best, most = entry, equal
    return best


def _differs(cache: Cache, parts: keys.Parts, entry: Entry, mine: str) -> str:
    assert entry.parts is not None
    has, found = keys.Parts(*entry.parts), []
    if has.bound != parts.bound:
        found.append("parameters, their types or formats")
    if has.scope != parts.scope:
        theirs = cache.scopes.get(has.scope)
        found.append("who may share it" if theirs is None else _scopes(mine, theirs))
    return f"differs in: {'; '.join(found)}" if found else "its tables were written since, or it is too old"


def _scopes(mine: str, theirs: str) -> str:
    """Which parts of two scopes differ, from how they are written down."""
    (role, ours), (other_role, others) = mine.split("\n", 1), theirs.split("\n", 1)
    differing = ["primary or replica"] if role != other_role else []
    one: tuple[Any, ...] = ast.literal_eval(ours)
    other: tuple[Any, ...] = ast.literal_eval(others)
    for name, a, b in zip(_PARTS, one, other, strict=False):
        if a == b:
            continue
        if name == "settings":
            names = sorted({key for key, _ in set(a) ^ set(b)})
            differing.append(f"settings ({', '.join(names)})")
        else:
            differing.append(name)
    return ", ".join(differing)
