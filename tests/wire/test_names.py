"""The names in messages of the extended protocol, taken out and put in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.wire import frontend, names

NAMES = st.binary(max_size=20).map(lambda name: name.replace(b"\0", b""))
VALUES = st.lists(st.none() | st.binary(max_size=30), max_size=3)


@given(NAMES, NAMES, VALUES)
def test_a_bind_without_its_names(portal: bytes, statement: bytes, values: list[bytes | None]) -> None:
    """What is run again for a client is bound as the client bound it, to nothing that has a name."""
    frame = frontend.Bind(portal, statement, values=tuple(values)).to_bytes()
    assert names.bind_names(frame)[:2] == (portal, statement)
    unnamed = frontend.Bind.from_bytes(names.unnamed_bind(frame[names.bind_names(frame)[2] :]))
    assert (unnamed.portal, unnamed.statement, tuple(unnamed.values)) == (b"", b"", tuple(values))


@given(NAMES, NAMES, NAMES, VALUES)
def test_a_bind_of_another_statement(portal: bytes, statement: bytes, other: bytes, values: list[bytes | None]) -> None:
    """The portal and the values stay as they are."""
    frame = names.rename_bind(frontend.Bind(portal, statement, values=tuple(values)).to_bytes(), other)
    assert frame == frontend.Bind(portal, other, values=tuple(values)).to_bytes()


@given(NAMES, NAMES, VALUES, st.lists(st.integers(0, 1), max_size=3), st.lists(st.integers(0, 1), max_size=3))
def test_the_values_of_a_bind_are_counted(
    portal: bytes, statement: bytes, values: list[bytes | None], formats: list[int], results: list[int]
) -> None:
    """It binds nothing if it is whole, and has neither values nor formats of values; cut off or longer, it does not."""
    frame = frontend.Bind(portal, statement, tuple(values), tuple(formats), tuple(results)).to_bytes()
    assert names.value_count(frame) == len(values)
    assert names.binds_nothing(frame) == (not values and not formats)
    after = names.bind_names(frame)[2]
    for end in range(after, len(frame)):
        assert names.value_count(frame[:end]) in (0, len(values))
        assert not names.binds_nothing(frame[:end])
    assert not names.binds_nothing(frame + b"\0")
