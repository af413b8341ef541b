"""Whether a read is to be cached, and for how long: the first that has a say decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pgbeam_cache.policy.cacheability import Cacheability
from pgbeam_cache.policy.rule_files import Rule
from pgbeam_cache.settings import CacheSettings
from pgbeam_core import Session, Statement


class Terms(NamedTuple):
    """Seconds a reply is fresh, and seconds after that in which it is served while it is refreshed."""

    ttl: int
    swr: int


def terms(
    note: Cacheability, statement: Statement, session: Session, settings: CacheSettings, rules: Mapping[str, Rule]
) -> Terms | str:
    """The terms, or the word for why not: annotation, the session's off, a rule, the session's on, the default."""
    asked = note.annotation
    ttl = swr = None
    if asked is not None:
        if "nocache" in asked.parameters:
            return "annotation"
        ttl, swr = asked.parameters.get("maxage"), asked.parameters.get("swr")
    else:
        lookup = session.variable("cache")
        if lookup == "off":
            return "session"
        rule = rules.get(statement.query_hash) if rules else None
        if rule is not None:
            if not rule.enabled:
                return "rule"
            ttl, swr = rule.ttl, rule.swr
        elif lookup is None and not settings.enabled:
            return "off"
    found = Terms(
        _of_session(session, "cache_ttl", settings.ttl_s) if ttl is None else ttl,
        _of_session(session, "cache_swr", settings.swr_s) if swr is None else swr,
    )
    return found if found.ttl or found.swr else "ttl"


def _of_session(session: Session, name: str, default: int) -> int:
    value = session.variable(name)
    return default if value is None else int(value)
