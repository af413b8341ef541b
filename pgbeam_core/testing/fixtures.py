"""A pytest plugin: `pytest_plugins = ["pgbeam_core.testing.fixtures"]` in a conftest.py or a test module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pgbeam_core.testing.rehearsal import Rehearsal


@pytest.fixture
def rehearse() -> Iterator[Callable[..., Rehearsal]]:
    """rehearse({"name": plugin}, settings=…) gives a running `Rehearsal`, closed when the test is over."""
    running: list[Rehearsal] = []

    def rehearse(plugins: dict[str, object], **options: Any) -> Rehearsal:
        running.append(Rehearsal(plugins, **options))
        return running[-1]

    yield rehearse
    for rehearsal in running:
        rehearsal.close()
