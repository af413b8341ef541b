"""Fixtures for all tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

os.environ["CHECK_PGBEAM_STATES"] = "1"  # before the module that looks at it is imported

from pgbeam_core.api import query
from pgbeam_core.cli.release import compiled
from pgbeam_core.embedded.postgres import free_port as find_free_port
from tests.behaviour.quickly import NEWEST

# How long a test takes is a matter of what else the machine has to do.
hypothesis.settings.register_profile("pgbeam", deadline=None)
hypothesis.settings.load_profile("pgbeam")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that are used here; with TEST_COMPILED set, refuse to test anything but compiled modules."""
    if "TEST_COMPILED" in os.environ and not compiled():
        raise pytest.UsageError(
            f"compiled modules are to be tested, but here is {query.__file__}: run make test-compiled"
        )
    config.addinivalue_line("markers", "newest: slow with all but the newest server version")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before the slow ones are sorted out: tests marked `newest` are slow with older servers."""
    for item in items:
        if item.get_closest_marker("newest") and isinstance(item, pytest.Function):
            version = item.callspec.params.get("cluster", NEWEST) if hasattr(item, "callspec") else NEWEST
            if version != NEWEST:
                item.add_marker(pytest.mark.slow)


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return find_free_port()


@pytest.fixture
def open_tmp_path() -> Iterator[Path]:
    """A folder that an unprivileged user may enter: pytest's own are private, and PostgreSQL does not run as root."""
    path = Path(tempfile.mkdtemp(prefix="pgbeam-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
