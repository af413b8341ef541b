"""Django: migrations, atomic, persistent connections, its pool, server-side cursors, its test runner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..beams import Direct

PROGRAM = Path(__file__).with_name("django_habits.py")


def run(leg: Direct, *arguments: str) -> None:
    """Run the Django project against the leg; its output is shown if it fails."""
    command = [sys.executable, str(PROGRAM), leg.url(), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("age", ["0", "600"])
def test_models(leg: Direct, age: str) -> None:
    """Migrations, bulk inserts, atomic blocks and iterators, with a connection per request or a lasting one."""
    run(leg, "habit", age)


def test_models_with_the_pool(leg: Direct) -> None:
    """The same with Django's own psycopg pool."""
    run(leg, "habit", "0", "pool")


def test_the_test_runner(leg: Direct) -> None:
    """The test runner creates its database through the leg, uses it, and drops it."""
    run(leg, "tests")
    with leg.cluster.connect() as boss:
        assert boss.execute("SELECT 1 FROM pg_database WHERE datname = 'test_shop'").fetchone() is None
