"""libpq's password file: a line for each server, `host:port:database:user:password`, the first that fits counts."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from twisted.logger import Logger

log = Logger(__name__)

_MOST_BYTES = 1024 * 1024
_FIELD = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)", re.DOTALL)
_SOCKETS = ("/var/run/postgresql", "/tmp")
"""Directories of sockets that a libpq may have been built with: `localhost` stands for these too."""


def password_file() -> Path:
    """Where it is: PGPASSFILE, else ~/.pgpass."""
    named = os.environ.get("PGPASSFILE")
    return Path(named) if named else Path("~/.pgpass").expanduser()


def password_from(path: Path, host: str, port: int, database: str, user: str) -> str | None:
    """The password of the first line that fits. As with libpq, a file that others may read is left alone."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                log.warn("password file {path} has group or world access; it is not used", path=str(path))
                return None
            text = file.read(_MOST_BYTES).decode("utf-8", "surrogateescape")
    except (OSError, RuntimeError):
        return None
    wanted = ("localhost" if host in _SOCKETS else host, str(port), database, user)
    return next((found for line in re.split(r"\r?\n", text) if (found := _fits(line, wanted)) is not None), None)


def _fits(line: str, wanted: tuple[str, ...]) -> str | None:
    if line.startswith("#"):
        return None
    fields: list[str] = []
    place = 0
    while len(fields) < len(wanted):
        found = _FIELD.match(line, place)
        if found is None or found.end() >= len(line):
            return None
        fields.append(found[1])
        place = found.end()
    if all(field == "*" or _plain(field) == value for field, value in zip(fields, wanted, strict=True)):
        return _plain(line[place:])
    return None


def _plain(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field, flags=re.DOTALL)
