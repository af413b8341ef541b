"""What clients send: PostgreSQL's words for what is wrong, and the quick helpers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire import copy_messages, frontend, names
from pgbeam_core.wire.frames import frame

words = st.binary(max_size=12).map(lambda name: name.replace(b"\0", b""))
BAD = [
    (frontend.Query, b"SELECT 1", "invalid string in message"),
    (frontend.Query, b"a\0b\0", "invalid message format"),
    (frontend.Sync, b"x", "invalid message format"),
    (frontend.Parse, b"\0\0\x00\x02\x00\x00\x00\x17", "insufficient data left in message"),
    (frontend.Bind, b"\0\0\x00\x02\x00\x00\x00\x00\x00\x01", "bind message has 2 parameter formats but 1 parameters"),
    (frontend.Bind, b"\0\0\x00\x00\x00\x01\xff\xff\xff\xfe", "insufficient data left in message"),
    (frontend.Describe, b"", "no data left in message"),
    (frontend.Describe, b"X\0", "invalid DESCRIBE message subtype 88"),
    (frontend.Close, b"X\0", "invalid CLOSE message subtype 88"),
    (frontend.Close, b"X\0x", "invalid message format"),
    (frontend.Execute, b"\0\x00", "insufficient data left in message"),
    (
        frontend.FunctionCall,
        b"\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xfe",
        "invalid argument size -2 in function call message",
    ),
    (
        frontend.FunctionCall,
        b"\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00\x00\x01",
        "function call message contains 2 argument formats but 1 arguments",
    ),
    (frontend.PasswordMessage, b"no end", "invalid password packet size"),
    (frontend.PasswordMessage, b"two\0\0", "invalid password packet size"),
    (frontend.PasswordMessage, b"", "invalid password packet size"),
]


@pytest.mark.parametrize(("kind", "body", "words"), BAD)
def test_a_malformed_message_is_refused_in_the_words_of_postgresql(
    kind: type[frontend.Message], body: bytes, words: str
) -> None:
    """A client that breaks the protocol reads what PostgreSQL would have said."""
    with pytest.raises(ProtocolViolation) as caught:
        kind.from_bytes(frame(kind.TAG, body))
    assert caught.value.message == words
    assert caught.value.sqlstate == "08P01"


def test_as_many_parameters_as_postgresql_takes_can_be_bound() -> None:
    """65535 is the protocol's limit, not 32767."""
    bind = frontend.Bind(b"", b"", (None,) * 65535)
    assert frontend.Bind.from_bytes(bind.to_bytes()) == bind


def test_a_zero_byte_in_a_name_is_a_mistake_of_ours() -> None:
    """A name that would end early is never written."""
    with pytest.raises(ValueError, match="zero byte"):
        frontend.Parse(b"a\0b", b"SELECT 1").to_bytes()


def test_a_password_is_not_in_the_repr() -> None:
    """Logs show messages, and must not show passwords."""
    assert "sesame" not in repr(frontend.PasswordMessage(b"sesame"))


@given(words, words, st.lists(st.integers(0, 2**32 - 1), max_size=3))
def test_parse_names_finds_what_from_bytes_finds(name: bytes, sql: bytes, types: list[int]) -> None:
    """The quick look agrees with the whole decoding."""
    data = frontend.Parse(name, sql, tuple(types)).to_bytes()
    found, text, offset = names.parse_names(data)
    assert (found, text) == (name, sql)
    assert data[offset : offset + 2] == len(types).to_bytes(2, "big")


@given(words, words, words)
def test_renaming_changes_the_statement_and_nothing_else(name: bytes, other: bytes, new: bytes) -> None:
    """The server sees the client's own message under another name."""
    bind = frontend.Bind(other, name, (b"1", None), (1,), (0, 1))
    renamed = frontend.Bind(other, new, (b"1", None), (1,), (0, 1))
    assert names.rename_bind(bind.to_bytes(), new) == renamed.to_bytes()
    assert names.bind_names(bind.to_bytes())[:2] == (other, name)
    parse = frontend.Parse(name, other, (23,))
    assert names.rename_parse(parse.to_bytes(), new) == frontend.Parse(new, other, (23,)).to_bytes()


@given(st.sampled_from([frontend.STATEMENT, frontend.PORTAL]), words)
def test_describe_target_serves_describe_and_close(kind: int, name: bytes) -> None:
    """Both messages have the same body."""
    for message in (frontend.Describe(kind, name), frontend.Close(kind, name)):
        assert names.describe_target(message.to_bytes()) == (kind, name)


@pytest.mark.parametrize(("tag", "verb"), [(b"D", "DESCRIBE"), (b"C", "CLOSE")])
def test_describe_target_refuses_what_postgresql_refuses(tag: bytes, verb: str) -> None:
    """An unknown kind is named with its message."""
    with pytest.raises(ProtocolViolation, match=f"invalid {verb} message subtype 88"):
        names.describe_target(frame(tag[0], b"X\0"))


@given(words, st.integers(-(2**31), 2**31 - 1))
def test_execute_target_finds_what_from_bytes_finds(portal: bytes, rows: int) -> None:
    """The quick look agrees with the whole decoding."""
    assert names.execute_target(frontend.Execute(portal, rows).to_bytes()) == (portal, rows)


@pytest.mark.parametrize("body", [b"\0\x00\x00\x00", b"\0\x00\x00\x00\x00\x00"])
def test_execute_target_refuses_a_wrong_size(body: bytes) -> None:
    """A portal name that swallows the row limit, or bytes after it, are no Execute."""
    with pytest.raises(ProtocolViolation):
        names.execute_target(frame(ord("E"), body))


@pytest.mark.parametrize(
    ("constant", "message"),
    [
        (frontend.SYNC, frontend.Sync()),
        (frontend.FLUSH, frontend.Flush()),
        (frontend.TERMINATE, frontend.Terminate()),
        (copy_messages.COPY_DONE, copy_messages.CopyDone()),
    ],
)
def test_constants_are_their_messages(constant: bytes, message: frontend.Message) -> None:
    """Messages that never vary are kept as bytes."""
    assert constant == message.to_bytes()
