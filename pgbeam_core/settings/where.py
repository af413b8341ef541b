"""Where a setting stands, so that an error can name file, key and value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pgbeam_core.errors import SettingsError
from pgbeam_core.telemetry.masking import MASK, is_secret, mask, masked

Path = tuple[str, ...]
_USERS = "users"
"""A table of what users prove themselves with."""


@dataclass(frozen=True)
class Origin:
    """A source of settings. From a `text` source (environment, `--set`) every value is a str, typed by its field."""

    label: str
    text: bool = False
    names_variable: bool = False

    def name_of(self, path: Path) -> str:
        """The source as an error names it: a file, `--set`, or the environment variable."""
        if self.names_variable:
            return f"{self.label}{'__'.join(path).upper()}"
        return self.label


BUILT_IN = Origin("settings")


@dataclass(frozen=True)
class Where:
    """A key in the settings. `Where() / "plugins" / "pool"` walks down."""

    path: Path = ()
    origins: Mapping[Path, Origin] = field(default_factory=dict)

    def __truediv__(self, key: str) -> Where:
        return replace(self, path=(*self.path, key))

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def origin(self) -> Origin:
        """Who set it: for a table, or a key that is missing from one, whoever set something nearby."""
        for length in range(len(self.path), 0, -1):
            start = self.path[:length]
            if (found := self.origins.get(start)) is not None:
                return found
            if (found := next((o for path, o in self.origins.items() if path[:length] == start), None)) is not None:
                return found
        return BUILT_IN

    def error(self, value: object, reason: str) -> SettingsError:
        """`settings.toml: workers = 0: must be at least 1`, without the secrets in it."""
        shown = MASK if any(map(is_secret, self.path)) or _USERS in self.path else repr(masked(value))
        return SettingsError(f"{self.origin.name_of(self.path)}: {self.key} = {shown}: {mask(reason)}")

    def unknown(self, key: str, value: object, known: Iterable[str]) -> SettingsError:
        """An error for a key that nobody knows, naming the nearest one that is known."""
        return (self / key).error(value, f"unknown key{nearest(key, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or the list of what there is, or nothing."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    if close:
        return f'; did you mean "{close[0]}"?'
    return f"; known: {', '.join(names)}" if names else ""
