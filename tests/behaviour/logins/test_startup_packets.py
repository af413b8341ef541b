"""Strange first words: PgBeam answers each as PostgreSQL does, byte for byte, or hangs up as silently."""

from __future__ import annotations

import re
import socket
import struct

import pytest

from tests.behaviour.clusters import Cluster
from tests.behaviour.conftest import BeamFactory

pytestmark = pytest.mark.pg

V3, SSL, GSS, CANCEL = 3 << 16, 80877103, 80877104, 80877102
WHO = b"user\0app\0database\0shop\0"


def packet(code: int, body: bytes = b"") -> bytes:
    """A startup packet."""
    return struct.pack("!II", len(body) + 8, code) + body


def padded(length: int) -> bytes:
    """A login whose packet is that long."""
    return packet(V3, WHO + b"a.b\0" + b"y" * (length - 14 - len(WHO)) + b"\0\0")


PACKETS: dict[str, list[bytes]] = {
    "letters": [b"xxxx"],
    "http": [b"GET / HTTP/1.1\r\n\r\n"],
    "tls": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    "length 0": [struct.pack("!I", 0)],
    "length 3": [struct.pack("!I", 3)],
    "length 4": [struct.pack("!I", 4)],
    "length 7": [struct.pack("!I", 7) + b"abc"],
    "length 8": [packet(V3)],
    "length 9": [packet(V3, b"\0")],
    "length 10": [packet(V3, b"a\0")],
    "length 10000": [padded(10_000)],
    "length 10004": [padded(10_004)],
    "length 10005": [struct.pack("!I", 10_005)],
    "length 2 GiB": [struct.pack("!I", 2**31 - 1)],
    "length -1": [struct.pack("!I", 2**32 - 1)],
    "version 0": [packet(0)],
    "version 1": [packet(1 << 16)],
    "version 2": [packet(2 << 16, bytes(288))],
    "version 4": [packet(4 << 16, WHO + b"\0")],
    "version 1234.1": [packet(1234 << 16 | 1)],
    "version 3.99": [packet(V3 | 99, WHO + b"\0")],
    "version 3.99, no user": [packet(V3 | 99, b"\0")],
    "no user": [packet(V3, b"database\0shop\0\0")],
    "empty user": [packet(V3, b"user\0\0\0")],
    "unknown role": [packet(V3, b"user\0nobody\0\0")],
    "no terminator": [packet(V3, WHO)],
    "no value": [packet(V3, b"user\0app\0x\0")],
    "unfinished value": [packet(V3, b"user\0ap")],
    "terminator too early": [packet(V3, b"user\0app\0\0database\0shop\0\0")],
    "user twice": [packet(V3, b"user\0nobody\0user\0app\0database\0shop\0\0")],
    "database twice": [packet(V3, b"user\0app\0database\0none\0database\0shop\0\0")],
    "900 parameters": [packet(V3, WHO + b"".join(b"a.b%d\0x\0" % i for i in range(900)) + b"\0")],
    "unknown parameter": [packet(V3, WHO + b"no_such\0x\0\0")],
    "protocol option": [packet(V3, WHO + b"_pq_.x\0y\0\0")],
    "protocol option, no user": [packet(V3, b"_pq_.x\0y\0\0")],
    "long name": [packet(V3, WHO + b"n" * 9000 + b"\0x\0\0")],
    "long user": [packet(V3, b"user\0" + b"n" * 9000 + b"\0\0")],
    "long database": [packet(V3, b"user\0app\0database\0" + b"n" * 9000 + b"\0\0")],
    "replication maybe": [packet(V3, WHO + b"replication\0maybe\0\0")],
    "no utf-8": [packet(V3, b"user\0\xff\xfe\0\0")],
    "ssl twice": [packet(SSL), packet(SSL)],
    "ssl and more": [packet(SSL) + packet(V3, WHO + b"\0")],
    "ssl with a body": [packet(SSL, b"abc"), packet(V3, WHO + b"\0")],
    "ssl, then length 0": [packet(SSL), struct.pack("!I", 0)],
    "ssl, then cancel": [packet(SSL), packet(CANCEL, struct.pack("!II", 1, 2))],
    "cancel": [packet(CANCEL, struct.pack("!II", 1, 2))],
    "cancel of nobody": [packet(CANCEL)],
    "cancel without a key": [packet(CANCEL, b"abcd")],
    "cancel with a short key": [packet(CANCEL, b"abcdefg")],
    "cancel with a long key": [packet(CANCEL, b"a" * 300)],
}
GSSAPI = {
    "gssapi twice": [packet(GSS), packet(GSS)],
    "gssapi and more": [packet(GSS) + b"abcd"],
    "ssl, gssapi, ssl": [packet(SSL), packet(GSS), packet(SSL)],
    "gssapi, ssl, gssapi": [packet(GSS), packet(SSL), packet(GSS)],
}


def said(port: int, pieces: list[bytes]) -> bytes:
    """What is answered up to the end of the connection or the end of the login."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        try:
            for piece in pieces[:-1]:
                client.sendall(piece)
                got += client.recv(1)
            client.sendall(pieces[-1])
            while not got.endswith(b"Z\x00\x00\x00\x05I"):
                more = client.recv(65536)
                if not more:
                    return got
                got += more
        except ConnectionError:
            pass
    return got


def comparable(got: bytes) -> bytes:
    """Without what tells one server from another: file and line, the newest version, and what a login tells."""
    got = re.sub(rb"F[a-z_]+\.c\0L\d+\0R\w+\0", b"", got)
    got = re.sub(rb"E\0\0..SF", b"E....SF", got)
    got = re.sub(rb"(server supports 3\.0 to 3)\.\d", rb"\1.x", got)
    got = re.sub(rb"^v(.{4})\x00\x03\x00.", rb"v\g<1>....", got, flags=re.DOTALL)
    if got.endswith(b"Z\x00\x00\x00\x05I"):
        got = got[: got.index(b"R\0\0\0\x08")] + b"(logged in)"
    return got


@pytest.mark.parametrize("name", PACKETS)
def test_a_strange_startup_packet_is_answered_as_by_postgresql(
    cluster: Cluster, shared_beam: BeamFactory, name: str
) -> None:
    """Scanners, broken drivers and old ones see no difference."""
    direct = comparable(said(cluster.port, PACKETS[name]))
    assert comparable(said(shared_beam(cluster, "transaction").port, PACKETS[name])) == direct


@pytest.mark.parametrize("name", GSSAPI)
def test_gssapi_is_declined_as_by_a_server_without_it(cluster: Cluster, shared_beam: BeamFactory, name: str) -> None:
    """Once; a second time it is a version that nobody speaks, and nothing may be sent with it."""
    with socket.create_connection(("127.0.0.1", cluster.port), 5) as client:
        client.sendall(packet(GSS))
        if client.recv(1) != b"N":
            pytest.skip("this PostgreSQL speaks GSSAPI")
    direct = comparable(said(cluster.port, GSSAPI[name]))
    assert comparable(said(shared_beam(cluster, "transaction").port, GSSAPI[name])) == direct
