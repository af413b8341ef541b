"""`pgbeam.cache`, `pgbeam.cache_ttl` and `pgbeam.cache_swr`, with the rules and the wording of PostgreSQL's own."""

from __future__ import annotations

import re

from pgbeam_cache.settings import CacheSettings
from pgbeam_core import Refusal

LONGEST = 2_147_483_647
"""The largest number of seconds, as for PostgreSQL's own parameters."""

_WORDS = {"true": "on", "false": "off", "yes": "on", "no": "off", "on": "on", "off": "off", "1": "on", "0": "off"}
_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,20})\s*", re.ASCII)


def check(name: str, value: str | None, settings: CacheSettings) -> str | Refusal | None:
    """The value as SHOW prints it, the default for None, a Refusal 22023; None if the variable is not the cache's."""
    if name == "cache":
        return _boolean(value) if value is not None else ("on" if settings.enabled else "off")
    if name == "cache_ttl":
        return _seconds(name, value) if value is not None else str(settings.ttl_s)
    if name == "cache_swr":
        return _seconds(name, value) if value is not None else str(settings.swr_s)
    return None


def _boolean(value: str) -> str | Refusal:
    """Like PostgreSQL: any case, and any beginning that means one thing only ("o" could be on or off)."""
    given = value.lower()
    found = {shown for word, shown in _WORDS.items() if given and word.startswith(given)}
    if len(found) == 1:
        return found.pop()
    return Refusal("22023", 'parameter "pgbeam.cache" requires a Boolean value')


def _seconds(name: str, value: str) -> str | Refusal:
    match = _NUMBER.fullmatch(value)
    if match is None:
        return Refusal("22023", f'invalid value for parameter "pgbeam.{name}": "{value}"')
    seconds = int(match[1])
    if not 0 <= seconds <= LONGEST:
        return Refusal("22023", f'{seconds} is outside the valid range for parameter "pgbeam.{name}" (0 .. {LONGEST})')
    return str(seconds)
