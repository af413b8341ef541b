"""Rules: what is cached by its shape, without a change to the application."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_cache.policy.rule_files import LONGEST, Rule, RuleFile
from pgbeam_cache.storage.async_store import StoreWorker
from pgbeam_core import PgBeamError

MOST = 10_000
_LOOK_EVERY_S = 0.5
_HASH = re.compile(r"[0-9a-f]{16}")

log = Logger(__name__)


def _key(query_hash: str, project: str | None) -> str:
    return query_hash if project is None else f"{project}/{query_hash}"


class Rules:
    """The rules in a file. `current` is replaced, never changed, when the file changes, within a second.

    The file is read and written by `worker`.
    """

    def __init__(self, path: Path, worker: StoreWorker, reactor: Any) -> None:
        self.current: Mapping[str, Rule] = {}
        """As they are in the file: by fingerprint, or `project/fingerprint`."""
        self._of: dict[str, Mapping[str, Rule]] = {}
        """Projects that have rules of their own → all rules that hold there."""
        self._common: Mapping[str, Rule] = {}
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

    def of(self, project: str) -> Mapping[str, Rule]:
        """The rules that hold in a project, by fingerprint: its own go before those for all."""
        return self._of.get(project, self._common)

    def set(self, query_hash: str, rule: Rule, project: str | None = None) -> Deferred[None]:
        """Make a rule for a shape, in a project or in all. Raises PgBeamError with SQLSTATE 22023; fails with one with
        53400 or 58030."""
        if not _HASH.fullmatch(query_hash):
            raise PgBeamError(f'"{query_hash}" is no query hash of 16 hex digits', sqlstate="22023")
        for name, seconds in (("ttl", rule.ttl), ("swr", rule.swr)):
            if seconds is not None and not 0 <= seconds <= LONGEST:
                raise PgBeamError(f"{name} must be between 0 and {LONGEST} seconds", sqlstate="22023")

        def change(rules: dict[str, Rule]) -> None:
            key = _key(query_hash, project)
            if len(rules) >= MOST and key not in rules:
                raise PgBeamError(f"there are {MOST} rules already", sqlstate="53400")
            rules[key] = rule

        return self._change(change)

    def unset(self, query_hash: str, project: str | None = None, *, alone: bool = False) -> Deferred[bool]:
        """Take a rule away; False if there was none. Fails like `set`.

        A rule for all projects is no project's to take away, unless it is `alone`.
        """
        there: list[bool] = []

        def change(rules: dict[str, Rule]) -> None:
            key = _key(query_hash, project)
            if project is not None and key not in rules and query_hash in rules:
                if not alone:
                    raise PgBeamError(f"the rule for {query_hash} is for all projects", sqlstate="55000")
                key = query_hash
            there.append(rules.pop(key, None) is not None)

        return self._change(change).addCallback(lambda _: there[0])

    def _change(self, change: Callable[[dict[str, Rule]], None]) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def changed(rules: dict[str, Rule]) -> None:
            self._hold(rules)
            done.callback(None)

        def failed(error: Exception) -> None:
            if not isinstance(error, PgBeamError):
                message = f"the rules in {self._file.path} cannot be changed: {error}"
                error = PgBeamError(message, sqlstate="58030")
            done.errback(error)

        self._worker.run(lambda: self._file.change(change), changed, failed)
        return done

    def _hold(self, rules: Mapping[str, Rule]) -> None:
        self.current = rules
        common = {key: rule for key, rule in rules.items() if "/" not in key}
        own: dict[str, Mapping[str, Rule]] = {}
        for key, rule in rules.items():
            project, separator, query_hash = key.rpartition("/")
            if separator:
                own[project] = {**own.get(project, common), query_hash: rule}
        self._common, self._of = common, own

    def _look(self) -> None:
        self._worker.run(self._file.news, self._took, self._not_read)

    def _took(self, news: Mapping[str, Rule] | None) -> None:
        if news is not None:
            self._hold(news)
        if not self._closed:
            self._timer = self._reactor.callLater(_LOOK_EVERY_S, self._look)

    def _not_read(self, error: Exception) -> None:
        """The rules stay as they are."""
        log.error("cache rules in {path} were not read: {error}", path=str(self._file.path), error=str(error))
        self._took(None)
