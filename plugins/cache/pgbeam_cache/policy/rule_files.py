"""Rules in a file that all workers read. Everything here may block: it is for a thread."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LONGEST = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for the queries of one shape. ttl, swr: seconds; None for what holds without the rule."""

    enabled: bool = True
    ttl: int | None = None
    swr: int | None = None


class RuleFile:
    """The rules in a file, by fingerprint. Each call raises OSError, or ValueError for a file that holds no rules."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None

    def news(self) -> dict[str, Rule] | None:
        """The rules, if the file has changed since this was last asked; one that is not there has none."""
        seen = self._status()
        if seen == self._seen:
            return None
        self._seen = seen
        return {} if seen is None else _read(self.path)

    def change(self, change: Callable[[dict[str, Rule]], None]) -> dict[str, Rule]:
        """Change them, one process at a time; gives those that hold now."""
        with _locked(self.path):
            rules = _read(self.path) if self.path.exists() else {}
            change(rules)
            _write(self.path, rules)
            self._seen = self._status()
        return rules

    def _status(self) -> tuple[int, ...] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


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
