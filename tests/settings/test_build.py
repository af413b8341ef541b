"""How a settings dataclass is filled, the way plugin authors meet it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import SettingsError
from pgbeam_core.settings import Where, build


@dataclass(frozen=True)
class Inner:
    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Spec:
    count: int = field(default=1, metadata={"min": 0, "max": 10})
    ratio: float = 0.5
    on: bool = False
    text: str = ""
    names: tuple[str, ...] = field(default=(), metadata={"max": 2})
    colours: tuple[str, ...] = field(default=("red",), metadata={"choices": ("red", "blue")})
    limit: int | None = None
    size: int = field(default=0, metadata={"unit": "bytes", "max": 1024**4})
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    either: tuple[str, ...] | Mapping[str, str] = ()
    mode: Literal["a", "b"] = "a"
    path: Path = Path("x")
    on_error: str = field(default="pass", metadata={"choices": ("pass", "refuse")})


@pytest.mark.parametrize(
    ("raw", "name", "value"),
    [
        ({"count": 5}, "count", 5),
        ({"ratio": 2}, "ratio", 2.0),
        ({"on": True}, "on", True),
        ({"names": ["a", "b"]}, "names", ("a", "b")),
        ({"colours": ["blue"]}, "colours", ("blue",)),
        ({"limit": 3}, "limit", 3),
        ({"size": "1 MiB"}, "size", 1024**2),
        ({"size": "64MB"}, "size", 64 * 1024**2),
        ({"size": "1.5 kB"}, "size", 1536),
        ({"size": "12"}, "size", 12),
        ({"size": 12}, "size", 12),
        ({"inner": {"name": "x"}}, "inner", Inner("x")),
        ({"many": [{"name": "x"}, {"name": "y", "weight": 2}]}, "many", (Inner("x"), Inner("y", 2.0))),
        ({"labels": {"a": "b"}}, "labels", {"a": "b"}),
        ({"either": ["a"]}, "either", ("a",)),
        ({"either": {"a": "b"}}, "either", {"a": "b"}),
        ({"mode": "b"}, "mode", "b"),
        ({"path": "/a"}, "path", Path("/a")),
        ({"on_error": "refuse"}, "on_error", "refuse"),
    ],
)
def test_a_value_arrives_as_its_field_wants_it(raw, name, value):
    """TOML's types become the field's types, and nothing else changes."""
    found = getattr(build(Spec, raw), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"count": "5"}, "must be a whole number"),
        ({"count": 5.0}, "must be a whole number"),
        ({"count": True}, "must be a whole number"),
        ({"count": 11}, "must be at most 10"),
        ({"ratio": float("nan")}, "must be finite"),
        ({"ratio": "x"}, "must be a number"),
        ({"on": 1}, "must be true or false"),
        ({"text": 5}, "must be a string"),
        ({"names": "a"}, "must be a list"),
        ({"names": ["a", "b", "c"]}, "must be at most 2 entries"),
        ({"names": [1]}, "must be a string"),
        ({"colours": ["green"]}, "must be one of red, blue"),
        ({"size": "1 parsec"}, 'must be a size in bytes, for example 1048576 or "1 MiB"'),
        ({"inner": {"name": "x", "wait": 2}}, 'unknown key; did you mean "weight"?'),
        ({"inner": {}}, "must be set"),
        ({"inner": 5}, "must be a table"),
        ({"mode": "c"}, "must be one of a, b"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(raw, reason):
    """No value is bent into shape: a flag is no number, a string no list."""
    with pytest.raises(SettingsError) as caught:
        build(Spec, raw, Where(("plugins", "x")))
    assert caught.value.message.endswith(f": {reason}")
    assert caught.value.message.startswith("settings: plugins.x.")


def test_nothing_set_is_every_default():
    """An empty table and no table are the same."""
    assert build(Spec, {}) == Spec()


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=5,
        ),
    )
    | st.fixed_dictionaries(
        {},
        optional={
            name: st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
            for name in Spec.__dataclass_fields__
        },
    )
)
def test_whatever_is_written_it_is_settings_or_a_settings_error(raw):
    """No input makes the loader fail in a way that does not name the culprit."""
    try:
        build(Spec, raw)
    except SettingsError:
        return
