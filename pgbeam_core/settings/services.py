"""libpq's connection service file: sections of names, each with the options of a server (`pg_service.conf`)."""

from __future__ import annotations

import os
from pathlib import Path

_MOST_BYTES = 1024 * 1024
_SYSTEM = "/etc/postgresql-common"
"""Where Debian's libpq looks when PGSYSCONFDIR does not say where."""


def service_files() -> list[Path]:
    """Where it is looked for, as libpq does: PGSERVICEFILE or ~/.pg_service.conf, then that of the system."""
    named = os.environ.get("PGSERVICEFILE")
    own = Path(named) if named else Path("~/.pg_service.conf").expanduser()
    return [own, Path(os.environ.get("PGSYSCONFDIR") or _SYSTEM) / "pg_service.conf"]


def service(name: str) -> dict[str, str]:
    """The options of that service. ValueError says what is wrong, or where it was not found."""
    files = service_files()
    for path in files:
        try:
            with path.open("rb") as file:
                text = file.read(_MOST_BYTES).decode()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ValueError(f"cannot read the service file {path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the service file {path} is not UTF-8") from None
        if (found := _section(text, name, path)) is not None:
            return found
    raise ValueError(f'definition of service "{name}" not found in {" or ".join(map(str, files))}')


def _section(text: str, name: str, path: Path) -> dict[str, str] | None:
    found: dict[str, str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if found is not None:
                return found  # the first section of a name counts
            if line == f"[{name}]":
                found = {}
        elif found is not None:
            key, equals, value = line.partition("=")
            if not equals:
                raise ValueError(f"line {number} of the service file {path} is no KEY=VALUE")
            if key == "service":
                raise ValueError(f"line {number} of the service file {path}: services cannot be nested")
            found.setdefault(key, value)
    return found
