"""A secret that outlives PgBeam, and that all its workers share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

log = Logger(__name__)

NAME = "login.secret"
_LENGTH = 32


def kept_secret(folder: Path, random: Callable[[int], bytes]) -> bytes:
    """That of a folder; made, for its owner's eyes only, when there is none. Where that fails, one that is not kept."""
    path, made = folder / NAME, random(_LENGTH)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = folder / f"{NAME}.{os.getpid()}"
        ours.touch(mode=0o600)
        ours.write_bytes(made)
        try:
            os.link(ours, path)  # whole or not at all, and never over that of another worker
        except FileExistsError:
            pass
        finally:
            ours.unlink()
        found = path.read_bytes()
    except OSError as error:
        why = error.strerror or ""
        log.info("{path}: {why}: the salts of users that there are not differ after a restart", path=path, why=why)
        return made
    if len(found) != _LENGTH:
        log.warn("{path}: is not {length} bytes long: remove it", path=path, length=_LENGTH)
        return made
    return found
