"""Fixtures for conversations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import globalLogPublisher


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Plugins that raise and servers that are lost are logged; that is not what these tests are about."""
    observers = list(globalLogPublisher._observers)
    for observer in observers:
        globalLogPublisher.removeObserver(observer)
    yield
    for observer in observers:
        globalLogPublisher.addObserver(observer)
