"""Every message, both ways, and what is not one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire import authentication, backend, copy_messages, frontend, names
from pgbeam_core.wire.frames import frame
from pgbeam_core.wire.message import Message
from pgbeam_core.wire.options import options_to_settings
from pgbeam_core.wire.startup import CancelRequest, GSSENCRequest, SSLRequest, StartupMessage, StartupReader
from pgbeam_core.wire.tags import Backend, Frontend
from tests.wire.samples import BACKEND, FRONTEND, PACKETS

KINDS = sorted({type(message) for message in FRONTEND + BACKEND}, key=str)
PEEKS = [
    names.parse_names,
    names.bind_names,
    names.describe_target,
    names.execute_target,
    lambda data: names.rename_bind(data, b"x"),
    lambda data: names.rename_parse(data, b"x"),
    backend.error_fields,
    authentication.auth_code,
]
LENIENT = (copy_messages.CopyDone, copy_messages.CopyFail, frontend.Terminate)


@pytest.mark.parametrize("message", FRONTEND + BACKEND, ids=repr)
def test_a_message_survives_the_way_to_bytes_and_back(message: Message) -> None:
    """What is written is read as the same, and written again as the same."""
    data = message.to_bytes()
    again = type(message).from_bytes(data)
    assert again == message
    assert again.to_bytes() == data


@pytest.mark.parametrize("message", FRONTEND + BACKEND, ids=repr)
def test_a_message_cut_short_is_refused(message: Message) -> None:
    """Every prefix, with its own or a right length word, is read or refused, and never breaks the reader."""
    data = message.to_bytes()
    for end in range(len(data)):
        with pytest.raises(ProtocolViolation):
            type(message).from_bytes(data[:end])
        if end >= 5:
            try_to_read(type(message), frame(data[0], data[5:end]))


@pytest.mark.parametrize("message", FRONTEND + BACKEND, ids=repr)
def test_bytes_after_a_message_are_refused(message: Message) -> None:
    """One byte more than the length says is another frame's, and one that the fields do not need is an error."""
    data = message.to_bytes()
    with pytest.raises(ProtocolViolation, match="invalid message length"):
        type(message).from_bytes(data + b"\0")
    longer = frame(data[0], data[5:] + b"\x01")
    if isinstance(message, LENIENT):
        assert type(message).from_bytes(longer) == message
    elif not takes_the_rest(message):
        with pytest.raises(ProtocolViolation):
            type(message).from_bytes(longer)


def takes_the_rest(message: Message) -> bool:
    return any(hasattr(message, name) for name in ("data", "password", "secret")) and not isinstance(
        message, frontend.SASLInitialResponse
    )


def test_every_type_byte_has_a_message() -> None:
    """The tables of types and the messages agree."""
    for listed, messages in ((Frontend, FRONTEND), (Backend, BACKEND)):
        known = {value for name, value in vars(listed).items() if name.isupper()}
        assert known == {message.TAG for message in messages}


def try_to_read(kind: type[Message], data: bytes) -> None:
    try:
        message = kind.from_bytes(data)
    except ProtocolViolation:
        return
    assert kind.from_bytes(message.to_bytes()) == message


# No parametrize beside given: pytest-twisted would wrap the same test once more for every parameter.
@given(body=st.binary(max_size=80))
def test_a_garbled_body_is_read_or_refused_and_nothing_else(body: bytes) -> None:
    """No bytes of a peer bring anything but a message or a ProtocolViolation."""
    for kind in KINDS:
        try_to_read(kind, frame(kind.TAG, body))
        if issubclass(kind, authentication.Authentication):
            try_to_read(kind, frame(kind.TAG, kind.CODE.to_bytes(4, "big") + body))


@settings(max_examples=300)
@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused_and_nothing_else(at: int, value: int) -> None:
    """Almost right is the hardest to read safely."""
    for message in FRONTEND + BACKEND:
        changed = bytearray(message.to_bytes())
        changed[at % len(changed)] = value
        try_to_read(type(message), bytes(changed))


@given(garbage=st.binary(max_size=60))
def test_garbage_is_refused_by_every_reader(garbage: bytes) -> None:
    """Frames without a header, of another type or length, and helpers that look at a few fields only."""
    for kind in (*KINDS, StartupMessage, SSLRequest, GSSENCRequest, CancelRequest):
        with pytest.raises(ProtocolViolation):
            kind.from_bytes(garbage[:4])
    for peek in PEEKS:
        for tag in (b"", b"E", b"D", b"R"):
            try:
                peek(tag + garbage)
            except ProtocolViolation:
                continue


@given(garbage=st.binary(max_size=60), packet=st.sampled_from(PACKETS))
def test_a_garbled_startup_packet_is_read_or_refused_and_nothing_else(garbage: bytes, packet: StartupMessage) -> None:
    """The first bytes of a stranger are the least trusted."""
    for body in (garbage, packet.to_bytes()[4:8] + garbage):
        for data in (body, (len(body) + 4).to_bytes(4, "big") + body):
            try:
                StartupReader().feed(data)
            except ProtocolViolation:
                continue


@given(st.text(st.sampled_from("-cdeftSxBCTv= \\\tna_.5\udcff\u0130"), max_size=30) | st.text(max_size=30))
def test_garbled_options_are_read_or_refused_and_nothing_else(options: str) -> None:
    """An options string is as untrusted as the packet that brings it."""
    with contextlib.suppress(ProtocolViolation):
        options_to_settings(options)
