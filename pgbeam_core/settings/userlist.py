"""Reads a list of users in the format of PgBouncer's userlist.txt: a line for each, `"name" "secret"`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pgbeam_core.wire.secrets import parse_secret

MOST_BYTES = 64 * 1024 * 1024
_LINE = re.compile(r'\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"(?:\s.*)?', re.DOTALL)
"""What stands behind the secret is ignored, as by PgBouncer; a quote inside is doubled."""


def parse_userlist(text: str) -> dict[str, str]:
    """Names and secrets. ValueError names the line that is wrong, and does not repeat it."""
    users: dict[str, str] = {}
    for number, whole in enumerate(text.split("\n"), 1):  # a password may hold what else may end a line
        line = whole.removesuffix("\r")
        if not line.strip() or line.lstrip().startswith((";", "#")):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f'line {number}: write it as "name" "secret"')
        name, secret = (part.replace('""', '"') for part in found.groups())
        try:
            parse_secret(secret)
        except ValueError as error:
            raise ValueError(f'line {number}: the secret of user "{name}" is {error}') from error
        users[name] = secret
    return users


def read_userlist(path: Path) -> Mapping[str, str]:
    """The users of a file. ValueError says what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES} bytes")
        text = data.decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    return parse_userlist(text)
