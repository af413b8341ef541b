"""The raw client itself, and the four ways to log in."""

from __future__ import annotations

import struct

import pytest

from . import frames
from .beams import Direct
from .clusters import LOGINS, PASSWORD
from .wireclient import Closed, LoginRefused, WireClient, error_fields

SECRETS = LOGINS[1:]


@pytest.mark.parametrize("user", LOGINS)
def test_every_kind_of_login_works(leg: Direct, user: str) -> None:
    """Whatever pg_hba.conf asks for, the right password gets in and the session is the user's own."""
    with leg.wire(user, password="" if user == "app" else PASSWORD) as client:
        row = client.ask(frames.query("SELECT current_user"))[1]
    assert row.body.endswith(user.encode())


@pytest.mark.parametrize("user", SECRETS)
def test_a_wrong_password_is_refused_with_the_servers_words(leg: Direct, user: str) -> None:
    """A wrong password is 28P01 with PostgreSQL's own text, FATAL, on the login itself."""
    with pytest.raises(LoginRefused) as refused:
        leg.wire(user, password="wrong")
    fields = error_fields(refused.value.frames[-1].body)
    assert (fields["V"], fields["C"]) == ("FATAL", "28P01")
    assert fields["M"] == f'password authentication failed for user "{user}"'


@pytest.mark.parametrize("user", SECRETS)
def test_a_right_password_after_a_wrong_one(leg: Direct, user: str) -> None:
    """A failed login leaves nothing behind that could let in or keep out the next one."""
    with pytest.raises(LoginRefused):
        leg.wire(user, password="wrong")
    with leg.wire(user, password=PASSWORD) as client:
        assert client.ask(frames.query("SELECT 1"))[-1].body == b"I"
    with pytest.raises(LoginRefused):
        leg.wire(user, password="wrong again")


def test_an_unknown_database_is_refused_with_the_servers_words(leg: Direct) -> None:
    """A database that does not exist is 3D000, exactly as PostgreSQL says it."""
    with pytest.raises(LoginRefused) as refused:
        leg.wire("app", "nowhere")
    fields = error_fields(refused.value.frames[-1].body)
    assert (fields["C"], fields["M"]) == ("3D000", 'database "nowhere" does not exist')


def test_an_unknown_user_is_refused_with_the_servers_words(leg: Direct) -> None:
    """A role that does not exist is 28000, exactly as PostgreSQL says it."""
    with pytest.raises(LoginRefused) as refused:
        leg.wire("nobody_at_all")
    fields = error_fields(refused.value.frames[-1].body)
    assert (fields["C"], fields["M"]) == ("28000", 'role "nobody_at_all" does not exist')


@pytest.mark.parametrize("request_bytes", [frames.SSL_REQUEST, frames.GSSENC_REQUEST], ids=["ssl", "gssenc"])
def test_encryption_that_is_not_there_is_declined_with_n(leg: Direct, request_bytes: bytes) -> None:
    """A client that asks for encryption first gets one byte, N, and may go on in the clear."""
    if leg.cluster.version == 15:
        pytest.skip("this build may offer TLS")
    with WireClient(leg.port) as client:
        client.send(request_bytes)
        assert client.socket.recv(1) == b"N"
        client.send(frames.startup({"user": "app", "database": "shop"}))
        assert client.until(b"Z")[-1].body == b"I"


def test_the_process_id_is_the_servers_in_session_mode(leg: Direct) -> None:
    """In session mode the key that a client is given names the process that really serves it."""
    if leg.pool_mode == "transaction":
        pytest.skip("a client has no server of its own in transaction mode")
    with leg.wire() as client:
        row = client.ask(frames.query("SELECT pg_backend_pid()"))[1]
        assert row.body[6:] == str(client.pid).encode()


@pytest.mark.parametrize("length", [-1, 0, 3, 0x7FFFFFFF])
def test_an_absurd_message_length_ends_the_connection(leg: Direct, length: int) -> None:
    """A length that cannot be is told as 08P01 before PgBeam hangs up; PostgreSQL hangs up without a word."""
    with leg.wire() as client:
        client.send(b"Q" + struct.pack("!i", length))
        if leg.pool_mode != "direct":
            assert error_fields(client.frame().body)["C"] == "08P01"
        with pytest.raises(Closed):
            client.frame()
