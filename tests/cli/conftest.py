"""Third-party plugins, installed for the length of one test."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

_numbers = itertools.count()
HEAD = "from pgbeam_core import hookimpl\n"


@pytest.fixture
def site(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder on sys.path, as a clean environment's site-packages would be."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for module in set(sys.modules) - before:
        if module.startswith("third_party_"):
            del sys.modules[module]


@pytest.fixture
def install(site) -> Callable[..., str]:
    """install("name", "source") installs a plugin from a distribution of its own and gives its module's name."""

    def install(name: str, source: str, distribution: str | None = None) -> str:
        distribution = distribution or f"pgbeam-{name}"
        module = f"third_party_{next(_numbers)}"
        (site / f"{module}.py").write_text(HEAD + dedent(source))
        info = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[pgbeam]\n{name} = {module}\n")
        return module

    return install


@pytest.fixture
def pgbeam(tmp_path, site) -> Callable[..., subprocess.CompletedProcess[str]]:
    """pgbeam("check") runs the command line in a process and a folder of its own."""

    def pgbeam(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PGBEAM_")}
        path = os.pathsep.join([str(site), *filter(None, sys.path)])
        return subprocess.run(
            [sys.executable, "-m", "pgbeam_core", *arguments],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": path, "COLUMNS": "200", **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return pgbeam
