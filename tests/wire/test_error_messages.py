"""Errors and notices: made here, and read from servers."""

from __future__ import annotations

import pytest

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire import backend, error_messages


def test_an_error_has_its_fields_in_the_order_postgresql_sends_them() -> None:
    """Severity twice, SQLSTATE, message, then what is known besides."""
    data = error_messages.error_response("FATAL", "53300", "too many", detail="d", hint="h")
    assert data[5:] == b"SFATAL\0VFATAL\0C53300\0Mtoo many\0Dd\0Hh\0\0"
    assert list(error_messages.error_fields(data)) == ["S", "V", "C", "M", "D", "H"]


def test_a_notice_leaves_out_what_it_does_not_have() -> None:
    """No detail and no hint: no such fields."""
    data = error_messages.notice_response("NOTICE", "00000", "pgbeam: cache=hit")
    assert data[:1] == b"N"
    assert error_messages.error_fields(data) == {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": "pgbeam: cache=hit"}


def test_error_fields_of_another_message_is_refused() -> None:
    """Only errors and notices have such fields."""
    with pytest.raises(ProtocolViolation):
        error_messages.error_fields(backend.READY_IDLE)


@pytest.mark.parametrize(
    "frame", [b"E\0\0\0\x04", b"E\0\0\0\x09CXX", b"E\0\0\0\x10SERROR\0CXX0", b"N\0\0\0\x0aM\xff\0\0"]
)
def test_the_fields_of_a_broken_error_are_those_that_can_be_read(frame: bytes) -> None:
    """A server that breaks off in the middle of an error is a lost server, and nothing worse."""
    assert set(error_messages.error_fields(frame)) <= {"S", "C", "M"}
