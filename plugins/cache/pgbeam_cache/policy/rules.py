"""Rules: what is cached by its shape, without a change to the application."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_cache.policy.rule_files import LONGEST, Rule, RuleFile
from pgbeam_cache.storage.async_store import Worker
from pgbeam_core import PgBeamError

MOST = 10_000
_LOOK_EVERY_S = 0.5
_HASH = re.compile(r"[0-9a-f]{16}")

log = Logger(__name__)


class Rules:
    """The rules in a file. `current` is replaced, never changed, when the file changes, within a second.

    The file is read and written by `worker`.
    """

    def __init__(self, path: Path, worker: Worker, reactor: Any) -> None:
        self.current: Mapping[str, Rule] = {}
        """By fingerprint."""
        self._file = RuleFile(path)
        self._worker = worker
        self._reactor = reactor
        self._timer: Any = None
        self._closed = False

    def start(self) -> None:
        """Read the file now, before there are clients; from then on look whether another process has changed it."""
        try:
            self._took(self._file.news())
        except (OSError, ValueError) as error:
            self._not_read(error)

    def close(self) -> None:
        self._closed = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._worker.close(lambda: None)

    def set(self, query_hash: str, rule: Rule) -> Deferred[None]:
        """Make a rule for a shape. Raises PgBeamError with SQLSTATE 22023; fails with one with 53400 or 58030."""
        if not _HASH.fullmatch(query_hash):
            raise PgBeamError(f'"{query_hash}" is no query hash of 16 hex digits', sqlstate="22023")
        for name, seconds in (("ttl", rule.ttl), ("swr", rule.swr)):
            if seconds is not None and not 0 <= seconds <= LONGEST:
                raise PgBeamError(f"{name} must be between 0 and {LONGEST} seconds", sqlstate="22023")

        def change(rules: dict[str, Rule]) -> None:
            if len(rules) >= MOST and query_hash not in rules:
                raise PgBeamError(f"there are {MOST} rules already", sqlstate="53400")
            rules[query_hash] = rule

        return self._change(change)

    def unset(self, query_hash: str) -> Deferred[bool]:
        """Take a rule away; False if there was none. Fails like `set`."""
        there: list[bool] = []

        def change(rules: dict[str, Rule]) -> None:
            there.append(rules.pop(query_hash, None) is not None)

        return self._change(change).addCallback(lambda _: there[0])

    def _change(self, change: Callable[[dict[str, Rule]], None]) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def changed(rules: dict[str, Rule]) -> None:
            self.current = rules
            done.callback(None)

        def failed(error: Exception) -> None:
            if not isinstance(error, PgBeamError):
                message = f"the rules in {self._file.path} cannot be changed: {error}"
                error = PgBeamError(message, sqlstate="58030")
            done.errback(error)

        self._worker.run(lambda: self._file.change(change), changed, failed)
        return done

    def _look(self) -> None:
        self._worker.run(self._file.news, self._took, self._not_read)

    def _took(self, news: Mapping[str, Rule] | None) -> None:
        if news is not None:
            self.current = news
        if not self._closed:
            self._timer = self._reactor.callLater(_LOOK_EVERY_S, self._look)

    def _not_read(self, error: Exception) -> None:
        """The rules stay as they are."""
        log.error("cache rules in {path} were not read: {error}", path=str(self._file.path), error=str(error))
        self._took(None)
