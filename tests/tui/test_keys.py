"""Keys by name, from what terminals send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.tui.keys import keys


@pytest.mark.parametrize(
    ("text", "pressed"),
    [
        ("q", ["q"]),
        ("ab", ["a", "b"]),
        ("\x1b[A\x1b[B", ["up", "down"]),
        ("\x1bOA", ["up"]),
        ("\x1b[5~j", ["page up", "j"]),
        ("\x1b", ["escape"]),
        ("\x1bq", ["escape", "q"]),
        ("\r\t\x7f", ["enter", "tab", "backspace"]),
        ("\x1b[1;5Cq", ["q"]),
        ("\x1b[<0;10;10M", []),
        ("\x1b[", []),
        ("é漢", ["é", "漢"]),
    ],
)
def test_keys_have_names(text: str, pressed: list[str]) -> None:
    """Arrows and the like are known however the terminal says them; what is unknown is no other key."""
    assert keys(text) == pressed


@given(st.text())
def test_anything_may_be_typed(text: str) -> None:
    """A cat on the keyboard ends nothing."""
    assert all(keys(text))
