"""Rules: what is cached by its shape, without a change to the application. Kept in a file that all workers read."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from pgbeam_core import PgBeamError

LONGEST = 2_147_483_647
MOST = 10_000
_LOOK_EVERY_S = 0.5
_HASH = re.compile(r"[0-9a-f]{16}")

log = Logger()


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for the queries of one shape. ttl, swr: seconds; None for what holds without the rule."""

    enabled: bool = True
    ttl: int | None = None
    swr: int | None = None


class Rules:
    """The rules in a file. `current` is replaced, never changed, when the file changes, within a second."""

    def __init__(self, path: Path, reactor: Any) -> None:
        self.current: Mapping[str, Rule] = {}
        """By fingerprint."""
        self._path = path
        self._reactor = reactor
        self._seen: tuple[int, ...] | None = None
        self._timer: Any = None

    def start(self) -> None:
        """Read the file, and look from time to time whether another process has changed it."""
        self.look()
        self._timer = self._reactor.callLater(_LOOK_EVERY_S, self.start)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def look(self) -> None:
        """Read the file if it has changed. One that cannot be read leaves the rules as they are."""
        try:
            status = self._path.stat()
            seen: tuple[int, ...] | None = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            seen = None
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.current = {} if seen is None else _read(self._path)
        except (OSError, ValueError) as error:
            log.error("cache rules in {path} were not read: {error}", path=str(self._path), error=str(error))

    def set(self, query_hash: str, rule: Rule) -> None:
        """Make a rule for a shape. Raises PgBeamError with SQLSTATE 22023 or 58030."""
        if not _HASH.fullmatch(query_hash):
            raise PgBeamError(f'"{query_hash}" is no query hash of 16 hex digits', sqlstate="22023")
        for name, seconds in (("ttl", rule.ttl), ("swr", rule.swr)):
            if seconds is not None and not 0 <= seconds <= LONGEST:
                raise PgBeamError(f"{name} must be between 0 and {LONGEST} seconds", sqlstate="22023")

        def change(rules: dict[str, Rule]) -> None:
            if len(rules) >= MOST and query_hash not in rules:
                raise PgBeamError(f"there are {MOST} rules already", sqlstate="53400")
            rules[query_hash] = rule

        self._change(change)

    def unset(self, query_hash: str) -> bool:
        """Take a rule away; False if there was none."""
        there = False

        def change(rules: dict[str, Rule]) -> None:
            nonlocal there
            there = rules.pop(query_hash, None) is not None

        self._change(change)
        return there

    def _change(self, change: Callable[[dict[str, Rule]], None]) -> None:
        try:
            with _locked(self._path):
                rules = _read(self._path) if self._path.exists() else {}
                change(rules)
                _write(self._path, rules)
        except (OSError, ValueError) as error:
            raise PgBeamError(f"the rules in {self._path} cannot be changed: {error}", sqlstate="58030") from error
        self.look()


def _read(path: Path) -> dict[str, Rule]:
    """Raises OSError, or ValueError for a file that holds something else."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(tree, dict) or tree.get("version") != 1 or not isinstance(tree.get("rules"), dict):
        raise ValueError("not a file of rules, version 1")
    return {str(query_hash): _rule(fields) for query_hash, fields in tree["rules"].items()}


def _rule(fields: Any) -> Rule:
    if not isinstance(fields, dict) or not isinstance(fields.get("enabled", True), bool):
        raise ValueError("a rule is no table")  # noqa: TRY004 -- all that is wrong with a file
    seconds = [fields.get(name) for name in ("ttl", "swr")]
    for value in seconds:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LONGEST):
            raise ValueError(f"{value!r} is no number of seconds")
    return Rule(fields.get("enabled", True), *seconds)


def _write(path: Path, rules: Mapping[str, Rule]) -> None:
    """All or nothing: a new file takes the place of the old one."""
    tree = {"version": 1, "rules": {query_hash: asdict(rule) for query_hash, rule in sorted(rules.items())}}
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(tree, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time changes the file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
