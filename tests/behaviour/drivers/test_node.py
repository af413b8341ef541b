"""node-postgres: queries, named statements, transactions, its pool, notifications, errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..beams import Direct

SOURCES = Path(__file__).with_name("node")
HABITS = ["simple", "parametrised", "named", "transactions", "pool", "settings", "notifications", "errors"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts and node-postgres; skips where there is no node, no npm or no registry."""
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed here")
    made = tmp_path_factory.mktemp("node")
    shutil.copytree(SOURCES, made, dirs_exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, check=False, cwd=made, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"npm could not install node-postgres: {done.stderr[-300:]}")
    return made


@pytest.mark.parametrize("habit", HABITS)
def test_node_postgres(leg: Direct, folder: Path, habit: str) -> None:
    """What applications do with node-postgres works as it does direct."""
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": leg.url()}
    command = ["node", "habits.js", habit]
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
