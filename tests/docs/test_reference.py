"""docs/reference.md has every name that a plugin may import, as the code has it."""

from __future__ import annotations

import re
from typing import Any

import pytest

import pgbeam_core
from pgbeam_core import testing
from tests.tool import tool


def test_the_page_is_what_the_code_says() -> None:
    """A name, a signature or a docstring that changes is changed on the page too: run `python tools/reference.py`."""
    made = tool("reference")
    assert made.PAGE.read_text("utf-8") == made.page(), "run python tools/reference.py"


@pytest.mark.parametrize("package", [pgbeam_core, testing], ids=lambda package: package.__name__)
def test_every_public_name_is_explained(package: Any) -> None:
    """Each name of `__all__` has a section with a sentence in it."""
    page = tool("reference").PAGE.read_text("utf-8").partition(f"`{package.__name__}`\n\n###")[2]
    for name in package.__all__:
        said = f"###{page}".partition(f"### `{name}`\n\n")[2].partition("\n### ")[0]
        prose = [line for line in said.splitlines() if line and not re.fullmatch(r"`[^`]*`|- .*", line)]
        assert prose, f"{name} has no docstring"


def test_the_cores_own_is_not_shown() -> None:
    """What conversations and the service do with a Beam or a Server is no contract."""
    page = tool("reference").PAGE.read_text("utf-8")
    for name in ("unread(", "cancel_keys", "`attach(holder", "_cost"):
        assert name not in page
