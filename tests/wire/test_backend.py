"""What servers send: constants, and replies made here."""

from __future__ import annotations

import pytest

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire import backend, copy_messages
from pgbeam_core.wire.authentication import AuthenticationOk, auth_code
from pgbeam_core.wire.frames import frame
from pgbeam_core.wire.message import Message
from pgbeam_core.wire.tags import Auth


@pytest.mark.parametrize(
    ("constant", "message"),
    [
        (backend.AUTHENTICATION_OK, AuthenticationOk()),
        (backend.PARSE_COMPLETE, backend.ParseComplete()),
        (backend.BIND_COMPLETE, backend.BindComplete()),
        (backend.CLOSE_COMPLETE, backend.CloseComplete()),
        (copy_messages.COPY_DONE, copy_messages.CopyDone()),
        (backend.EMPTY_QUERY_RESPONSE, backend.EmptyQueryResponse()),
        (backend.NO_DATA, backend.NoData()),
        (backend.PORTAL_SUSPENDED, backend.PortalSuspended()),
        (backend.ready_for_query(b"I"), backend.ReadyForQuery(b"I")),
        (backend.ready_for_query(b"T"), backend.ReadyForQuery(b"T")),
        (backend.ready_for_query(b"E"), backend.ReadyForQuery(b"E")),
        (backend.command_complete("SELECT 3"), backend.CommandComplete("SELECT 3")),
        (backend.parameter_status("a", "b"), backend.ParameterStatus("a", "b")),
        (backend.data_row(["é", b"\xff", None]), backend.DataRow(("é".encode(), b"\xff", None))),
    ],
)
def test_constants_and_constructors_give_their_messages(constant: bytes, message: Message) -> None:
    """What is made by the short way is what the message would be."""
    assert constant == message.to_bytes()


def test_a_row_description_made_here_has_text_columns() -> None:
    """Console tables are text, of no table."""
    made = backend.RowDescription.from_bytes(backend.row_description([("naïve", 25, -1)]))
    assert made.columns == (backend.Column("naïve".encode(), 0, 0, 25, -1, -1, 0),)


@pytest.mark.parametrize("size", [0, 3, 257])
def test_a_cancel_key_of_impossible_length_is_refused(size: int) -> None:
    """Protocol 3.2 allows 4 to 256 bytes."""
    with pytest.raises(ProtocolViolation):
        backend.BackendKeyData.from_bytes(frame(ord("K"), bytes(4 + size)))


def test_a_cancel_key_is_not_in_the_repr() -> None:
    """Whoever reads it in a log could cancel."""
    assert "open sesame" not in repr(backend.BackendKeyData(1, b"open sesame"))


def test_an_unknown_transaction_status_is_refused() -> None:
    """A proxy that guesses would hand out a server in the middle of a transaction."""
    with pytest.raises(ProtocolViolation):
        backend.ReadyForQuery.from_bytes(b"Z\x00\x00\x00\x05X")


def test_the_authentication_code_is_told_without_decoding() -> None:
    """Who relays a login needs the kind only."""
    assert auth_code(backend.AUTHENTICATION_OK) is Auth.OK
    with pytest.raises(ProtocolViolation, match="authentication method 99 not supported"):
        auth_code(frame(ord("R"), b"\x00\x00\x00\x63"))
