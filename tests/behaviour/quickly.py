"""What the quick tests run against: the newest server version installed, with shared servers; the rest is slow."""

from __future__ import annotations

from typing import Any

import pytest

from .clusters import installation

_VERSIONS = (18, 15)
NEWEST = next((version for version in _VERSIONS if installation(version)), _VERSIONS[0])
"""With older ones, tests marked `newest` are slow."""

SHARING: list[Any] = [
    pytest.param(True, id="sharing"),
    pytest.param(False, id="not sharing", marks=pytest.mark.slow),
]
"""Parameters `share`: whether short reads of several clients may be on one server."""
