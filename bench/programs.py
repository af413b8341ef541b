"""Finds or makes the programs to compare: installs Debian's packages where that is possible, and compiles PgBeam."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.errors import Skipped
from bench.processes import environment, run
from pgbeam_core.embedded import find_binaries

DEBIAN = Path("/usr/lib/postgresql")
INSTALL_TIMEOUT_S = 300
COMPILE_TIMEOUT_S = 1800
ROOT = Path(__file__).parents[1]


def postgres_programs(wanted: str) -> Path:
    """The bin folder of a PostgreSQL with pgbench: `wanted` is a folder, "embedded", or "auto" (the system's first)."""
    if wanted not in {"auto", "embedded"}:
        return Path(wanted)
    if wanted == "auto":
        found = [path.parent for path in DEBIAN.glob("*/bin/pgbench") if (path.parent / "initdb").exists()]
        if found:
            return max(found, key=lambda path: int(path.parent.name))
    return find_binaries()


def require(program: str, package: str, *, install: bool) -> str:
    """The path of the program, installed from its Debian package if it is missing. Skipped says why it is not there."""
    if (found := _which(program)) or not install:
        if found:
            return found
        raise Skipped(f"{program} is not installed")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Skipped(f"{program} is not installed: apt-get install {package}")
    print(f"Installing {package}", file=sys.stderr, flush=True)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(command, env=environment, capture_output=True, check=True, timeout=INSTALL_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError) as error:
        raise Skipped(f"apt-get could not install {package}: {error}") from None
    if found := _which(program):
        return found
    raise Skipped(f"{package} holds no {program}")


def compiled_pgbeam() -> Path:
    """The folder of PgBeam's packages with compiled modules, made now if need be. RunFailed says why it cannot be."""
    folder = ROOT / "build" / "compiled"
    run([sys.executable, str(ROOT / "tools" / "compile.py"), str(folder)], timeout_s=COMPILE_TIMEOUT_S)
    return folder


def version_of_pgbeam(packages: Path | None) -> str:
    """Its version, and how its modules run: "0.1.0 (compiled)" or "0.1.0 (interpreted)"."""
    command = [sys.executable, "-P", "-m", "pgbeam_core", "--version"]
    said = subprocess.run(command, env=environment(packages), capture_output=True, text=True, check=False)
    version = said.stdout.strip().removeprefix("pgbeam ")
    return version if version.endswith(")") else f"{version} (interpreted)"


def version_of(command: list[str]) -> str:
    """The version a program tells of itself, e.g. "1.18.0"."""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    number = re.search(r"\d+(?:\.\d+)+", said.stdout + said.stderr)
    return number[0] if number else "?"


def _which(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
