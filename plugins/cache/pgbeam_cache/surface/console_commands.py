"""`CACHE RULE …` at the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from pgbeam_cache.policy.rule_files import Rule
from pgbeam_cache.policy.rules import Rules
from pgbeam_core import PgBeamError

WORDS = "CACHE RULE"
USAGE = "<query_hash> ON|OFF [TTL <s>] [SWR <s>] | <query_hash> UNSET"
_SECONDS = ("ttl", "swr")


def run(rules: Rules, words: Sequence[str]) -> Deferred[str]:
    """Make a rule for a shape, or take it away. Raises PgBeamError 42601 for what it cannot read."""
    if len(words) < 2:
        raise _wrong()
    query_hash, verb, rest = words[0].lower(), words[1].lower(), list(words[2:])
    if verb == "unset" and not rest:
        return rules.unset(query_hash).addCallback(_unset, query_hash)
    if verb not in ("on", "off"):
        raise _wrong()
    rule = Rule(verb == "on", **_seconds(rest))
    return rules.set(query_hash, rule).addCallback(lambda _: WORDS)


def _seconds(words: list[str]) -> dict[str, Any]:
    """`TTL 300`, `ttl = 300` or `ttl=300`, likewise swr."""
    words = [part for word in words for part in word.lower().replace("=", " ").split()]
    found: dict[str, Any] = dict.fromkeys(_SECONDS)
    while words:
        name, value = words[0], words[1] if len(words) > 1 else ""
        if name not in _SECONDS or not (value.isascii() and value.isdigit() and len(value) < 12):
            raise _wrong()
        found[name], words = int(value), words[2:]
    return found


def _unset(there: bool, query_hash: str) -> str:
    if not there:
        raise PgBeamError(
            f"there is no rule for {query_hash}", sqlstate="42704", hint="SHOW RULES has those there are."
        )
    return WORDS


def _wrong() -> PgBeamError:
    return PgBeamError(f"the command is {WORDS} {USAGE}", sqlstate="42601", hint="SHOW SHAPES has the hashes.")
