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
