"""Whether a read is to be cached, and for how long: the first that has a say decides."""

from __future__ import annotations

from typing import NamedTuple

from pgbeam_cache.notes import Note
from pgbeam_cache.settings import CacheSettings
from pgbeam_core import Session


class Terms(NamedTuple):
    """Seconds a reply is fresh, and seconds after that in which it is served while it is refreshed."""

    ttl: int
    swr: int


def terms(note: Note, session: Session, settings: CacheSettings) -> Terms | str:
    """The terms, or the word for why not: annotation, then the session's off, its on, then the default."""
    asked = note.annotation
    if asked is not None:
        if "nocache" in asked.parameters:
            return "annotation"
        ttl, swr = asked.parameters.get("maxage"), asked.parameters.get("swr")
    else:
        wish = session.variable("cache")
        if wish == "off":
            return "session"
        if wish is None and not settings.enabled:
            return "off"
        ttl = swr = None
    found = Terms(
        _of_session(session, "cache_ttl", settings.ttl_s) if ttl is None else ttl,
        _of_session(session, "cache_swr", settings.swr_s) if swr is None else swr,
    )
    return found if found.ttl or found.swr else "ttl"


def _of_session(session: Session, name: str, default: int) -> int:
    value = session.variable(name)
    return default if value is None else int(value)
