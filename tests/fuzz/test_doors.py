"""What clients send before they are in, mutated: PROXY headers, requests for TLS, handshakes, and proofs."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pgbeam_core.net.client import ClientProtocol
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.testing import FakePostgres, Rehearsal, startup, table
from pgbeam_core.wire import backend
from pgbeam_core.wire.frontend import SASLInitialResponse, SASLResponse
from pgbeam_core.wire.scram import ScramClient, verifier
from pgbeam_core.wire.startup import CancelRequest, GSSENCRequest, SSLRequest
from tests.fuzz.mutations import mutated, pieces
from tests.fuzz.stage import LoggedFailures, cases
from tests.net.certificates import files

EACH_SCENE = 50
"""Cases that one PgBeam has to live through before another takes its place."""
PATIENCE_S = 130.0
"""After so long nobody is waited for."""
HEADERS = (
    b"PROXY TCP4 203.0.113.7 10.0.0.1 5000 6432\r\n",
    b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 6432\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 7, 10, 0, 0, 1]) + b"\x13\x88\x19\x20",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
)
INITIAL = SASLInitialResponse(b"SCRAM-SHA-256", ScramClient("", "sesame", lambda: bytes(18)).first()).to_bytes()
BOUND = SASLInitialResponse(b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abc").to_bytes()
FINAL = SASLResponse(b"c=biws,r=AAAAAAAAAAAAAAAAAAAAAAAA,p=" + b"A" * 43 + b"=").to_bytes()


def client_hello() -> bytes:
    """The first flight of a handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["postgresql"])
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="shop.example.com")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


HELLO, STARTUP = client_hello(), startup("app", "shop")
TALKS = [
    [STARTUP, INITIAL, FINAL],
    [STARTUP, BOUND, FINAL],
    [STARTUP, INITIAL, FINAL, FINAL],
    [SSLRequest().to_bytes(), HELLO],
    [HELLO],
    [HELLO, HELLO],
    [SSLRequest().to_bytes(), STARTUP, INITIAL],
    [GSSENCRequest().to_bytes(), SSLRequest().to_bytes(), HELLO],
    [CancelRequest(7, b"keys").to_bytes()],
]


class Doors:
    """One PgBeam with TLS and a list of users, perhaps behind a load balancer."""

    def __init__(self, *, proxied: bool) -> None:
        self._logged = LoggedFailures()
        top: dict[str, Any] = {"tls": files().settings()}
        if proxied:
            top |= {"proxy_protocol": True, "proxy_trusted": ["192.168.1.1"]}
        self.rehearsal = Rehearsal(
            {},
            servers={"primary:5432": FakePostgres({"SELECT 1": table(["a"], [["1"]])})},
            top=top,
            project={"auth": "scram", "users": {"app": verifier("sesame", b"salt")}},
        )

    def call(self, said: list[bytes], rng: Random) -> bytes:
        """A client that says that and leaves, sooner or later; what it was told."""
        transport = StringTransport()
        protocol: ClientProtocol = ClientFactory(self.rehearsal.beam).buildProtocol(None)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        for piece in said:
            if not transport.disconnecting:
                transport.protocol.dataReceived(piece)
                self.rehearsal.advance(0.003, 0.001)
        if rng.random() < 0.2:
            self.rehearsal.advance(PATIENCE_S, 10.0)
            assert transport.disconnecting, "it is waited for without end"
        transport.protocol.connectionLost(Failure(ConnectionDone()))
        return transport.value()

    def nothing_is_left(self) -> None:
        """No client, no session, no timer that grows in number."""
        beam = self.rehearsal.beam
        assert not beam.clients
        assert not beam.sessions
        assert not len(beam.unauthenticated)
        assert len(self.rehearsal.clock.getDelayedCalls()) < 20, self.rehearsal.clock.getDelayedCalls()

    def close(self) -> None:
        """The end; raises AssertionError for what was logged."""
        self.rehearsal.close()
        self._logged.close()


@contextmanager
def told(number: int) -> Iterator[None]:
    """Whatever goes wrong says which case it was."""
    try:
        yield
    except Exception as problem:
        raise AssertionError(f"FUZZ_SEED={number}: {problem!r}") from problem


def test_whatever_is_said_at_the_door_lets_nobody_in() -> None:
    """Errors or silence: nobody is let in, nothing stays behind, nobody is waited for without end."""
    doors: list[Doors] = []
    number = 0
    try:
        for number in cases():
            with told(number):
                if not doors or number % EACH_SCENE == 0:
                    while doors:
                        doors.pop().close()
                    doors = [Doors(proxied=False), Doors(proxied=True)]
                rng = Random(number)
                proxied = rng.random() < 0.5
                talk = list(rng.choice(TALKS))
                if rng.random() < (0.9 if proxied else 0.1):
                    talk.insert(0, rng.choice(HEADERS))
                said = doors[proxied].call(pieces(rng, mutated(rng, talk, [*TALKS, list(HEADERS)])), rng)
                assert backend.AUTHENTICATION_OK not in said
                doors[proxied].nothing_is_left()
    finally:
        with told(number):
            for each in doors:
                each.close()
