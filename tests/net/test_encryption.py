"""Clients that ask for TLS: byte by byte, without sockets."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from pgbeam_core.errors import SettingsError
from pgbeam_core.net.client import ClientProtocol
from pgbeam_core.net.entrance import Entrance
from pgbeam_core.net.listening import ClientFactory
from pgbeam_core.settings.model import Settings, Tls
from pgbeam_core.testing import FakePostgres, Rehearsal, startup, table
from pgbeam_core.wire import backend, frontend
from pgbeam_core.wire.startup import CancelRequest, GSSENCRequest, SSLRequest
from tests.net.certificates import Files, files
from tests.session.stage import messages, query, tags

HELLO = startup("app", "shop")


class Caller:
    """A client by hand, in clear until `encrypt`."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        self.transport = StringTransport()
        self.protocol: ClientProtocol = ClientFactory(rehearsal.beam).buildProtocol(None)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; gives what came back."""
        self.transport.protocol.dataReceived(data)
        self._rehearsal.advance(0.003, 0.001)  # a reply comes in one turn, and is encrypted in the next
        got: bytes = self.transport.value()
        self.transport.clear()
        return got

    def encrypt(
        self, hostname: str | None = "shop.example.com", *, alpn: str | None = "postgresql", cert: str = ""
    ) -> None:
        """The handshake. Raises ssl.SSLError."""
        context = ssl.create_default_context(cafile=files()["ca.crt"])
        context.check_hostname = hostname is not None
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        if cert:
            context.load_cert_chain(f"{cert}.crt", f"{cert}.key")
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        for _ in range(5):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._incoming.write(self.raw(self._outgoing.read()))
            else:
                self._incoming.write(self.raw(self._outgoing.read()))
                return
        raise AssertionError("the handshake does not end")

    def send(self, data: bytes) -> bytes:
        """Send inside TLS; gives what came back."""
        assert self.tls is not None
        if data:
            self.tls.write(data)
        self._incoming.write(self.raw(self._outgoing.read()))
        got = b""
        try:
            while piece := self.tls.read(65536):
                got += piece
        except ssl.SSLWantReadError:
            pass
        return got

    @property
    def closed(self) -> bool:
        """PgBeam has hung up."""
        return bool(self.transport.disconnecting)


@pytest.fixture
def rehearsal() -> Iterator[Rehearsal]:
    """A PgBeam that speaks TLS."""
    with make() as one:
        yield one


def make(**tls: Any) -> Rehearsal:
    """One with such `[tls]`."""
    big = table(["a"], [["x" * 1000] for _ in range(200)])
    servers = {"primary:5432": FakePostgres({"SELECT 1": table(["a"], [["1"]]), "SELECT 2": big})}
    return Rehearsal(
        {}, servers=servers, top={"tls": files().settings(**tls)}, project={"hostnames": ["shop.example.com"]}
    )


@pytest.fixture
def caller(rehearsal: Rehearsal) -> Caller:
    """A client that has connected."""
    return Caller(rehearsal)


def fields(data: bytes) -> dict[str, str]:
    """Of the ErrorResponse that came last."""
    return backend.error_fields(messages(data)[-1])


def asked(caller: Caller, **more: Any) -> None:
    """TLS after an SSLRequest."""
    assert caller.raw(SSLRequest().to_bytes()) == b"S"
    caller.encrypt(**more)


def test_a_login_inside_tls(caller: Caller) -> None:
    """All that is said behind the handshake is encrypted, large replies included, and what was agreed is known."""
    asked(caller)
    assert tags(caller.send(HELLO)) == "RSKZ"
    assert tags(caller.send(query("SELECT 1"))) == "TDCZ"
    assert tags(caller.send(query("SELECT 2"))) == "T" + "D" * 200 + "CZ"
    channel = caller.protocol.channel
    assert channel.encrypted
    assert channel.hostname == "shop.example.com"
    assert channel.tls is not None
    assert channel.tls.startswith("TLSv1.3/TLS_")
    assert caller.tls is not None
    assert channel.server_certificate == caller.tls.getpeercert(True)
    assert channel.certificate is None
    caller.send(frontend.TERMINATE)
    assert caller.closed


def test_tls_without_asking(caller: Caller) -> None:
    """libpq's sslnegotiation=direct: the handshake is the first that comes."""
    caller.encrypt()
    assert tags(caller.send(HELLO)) == "RSKZ"


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_tls_without_asking_needs_the_protocols_name(caller: Caller, alpn: str | None) -> None:
    """A browser that is led to PgBeam is not taken for a client of PostgreSQL."""
    caller.encrypt(alpn=alpn)
    assert caller.closed


def test_a_login_byte_by_byte(rehearsal: Rehearsal) -> None:
    """A handshake and a startup packet that arrive in pieces are the same."""
    caller = Caller(rehearsal)
    whole = caller.raw
    caller.raw = lambda data: b"".join(whole(data[place : place + 1]) for place in range(len(data))) or whole(b"")  # type: ignore[method-assign]
    asked(caller)
    assert tags(caller.send(HELLO)) == "RSKZ"


def test_the_startup_packet_may_come_with_the_end_of_the_handshake(caller: Caller) -> None:
    """A client that does not wait for anything loses no time, and nothing of what it has said."""
    assert caller.raw(SSLRequest().to_bytes()) == b"S"
    whole, kept = caller.raw, []
    caller.raw = lambda data: kept.append(data) or b"" if kept or (caller.tls and caller.tls.version()) else whole(data)  # type: ignore[method-assign, func-returns-value]
    caller.encrypt()
    assert caller.tls is not None
    caller.tls.write(HELLO + query("SELECT 1"))
    caller.raw = whole  # type: ignore[method-assign]
    kept.append(caller._outgoing.read())
    caller._incoming.write(caller.raw(b"".join(kept)))
    assert tags(caller.send(b"")) == "RSKZTDCZ"


@pytest.mark.parametrize("rest", [HELLO, HELLO[:5], b"x", b"\x16\x03\x01"])
def test_what_comes_in_clear_behind_the_request_is_refused(caller: Caller, rest: bytes) -> None:
    """Nobody can slip in a command before the encryption that the client believes in."""
    said = caller.raw(SSLRequest().to_bytes() + rest)
    assert fields(said)["M"] == "received unencrypted data after SSL request"
    assert caller.closed


def test_encryption_is_agreed_upon_once(caller: Caller) -> None:
    """Inside TLS, requests for encryption are versions that nobody speaks."""
    for request, version in ((SSLRequest(), "1234.5679"), (GSSENCRequest(), "1234.5680")):
        fresh = Caller(caller._rehearsal)
        asked(fresh)
        assert fields(fresh.send(request.to_bytes()))["M"].startswith(f"unsupported frontend protocol {version}")


def test_tls_is_offered_behind_a_declined_gssapi(caller: Caller) -> None:
    """libpq asks for GSSAPI first where it can."""
    assert caller.raw(GSSENCRequest().to_bytes()) == b"N"
    asked(caller)
    assert tags(caller.send(HELLO)) == "RSKZ"


def test_a_cancel_request_may_be_encrypted(caller: Caller) -> None:
    """As those of libpq 17 are."""
    asked(caller)
    assert caller.send(CancelRequest(1, b"1234").to_bytes()) == b""
    assert caller.closed


def test_plain_clients_are_refused_where_tls_is_required() -> None:
    """The error says what is missing, as PostgreSQL's would, and what to do."""
    with make(mode="require") as rehearsal:
        said = fields(Caller(rehearsal).raw(HELLO))
        assert (said["S"], said["C"]) == ("FATAL", "28000")
        assert said["M"] == (
            'connection must be encrypted: host "192.168.1.1", user "app", database "shop", no encryption'
        )
        assert "sslmode=require" in said["H"]
        caller = Caller(rehearsal)
        asked(caller)
        assert tags(caller.send(HELLO)) == "RSKZ"
        # Clients older than libpq 17 send these in clear, whatever their sslmode.
        assert Caller(rehearsal).raw(CancelRequest(1, b"1234").to_bytes()) == b""


def test_a_certificate_of_a_client_is_known_once_it_is_verified() -> None:
    """Who checks logins by certificate gets one that `client_ca` vouches for, or none."""
    with make(client_ca=files()["ca.crt"]) as rehearsal:
        caller = Caller(rehearsal)
        asked(caller, cert=files()["client"])
        assert tags(caller.send(HELLO)) == "RSKZ"
        assert ssl.DER_cert_to_PEM_cert(caller.protocol.channel.certificate or b"").split() == (
            Path(files()["client.crt"]).read_text().split()
        )
        without = Caller(rehearsal)
        asked(without)
        assert tags(without.send(HELLO)) == "RSKZ"
        assert without.protocol.channel.certificate is None


def test_a_certificate_of_a_stranger_lets_nobody_in(tmp_path: Any) -> None:
    """A client cannot vouch for itself."""
    stranger = Files(tmp_path)
    with make(client_ca=files()["ca.crt"]) as rehearsal:
        caller = Caller(rehearsal)
        with pytest.raises(ssl.SSLError):
            asked(caller, cert=stranger["client"])
            caller.send(HELLO)
        assert caller.closed
        assert not rehearsal.beam.sessions


def test_old_tls_is_refused() -> None:
    """1.2 is the oldest, or what `min_version` says."""
    with make(min_version="1.3") as rehearsal:
        caller = Caller(rehearsal)
        assert caller.raw(SSLRequest().to_bytes()) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        tls = context.wrap_bio(caller._incoming, caller._outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        caller._incoming.write(caller.raw(caller._outgoing.read()))
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            tls.do_handshake()
        assert caller.closed


def test_a_reload_is_for_new_clients(rehearsal: Rehearsal, tmp_path: Any) -> None:
    """Certificates are renewed without anybody noticing."""
    before = Caller(rehearsal)
    asked(before)
    assert tags(before.send(HELLO)) == "RSKZ"
    renewed = Files(tmp_path)
    rehearsal.reload(top={"tls": renewed.settings()})
    assert tags(before.send(query("SELECT 1"))) == "TDCZ"
    with pytest.raises(ssl.SSLCertVerificationError):
        asked(Caller(rehearsal))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: f.write_expired("server"), "the certificate expired on "),
        (lambda f: f.write("other", f.ca, "localhost"), None),
        (lambda f: (f.folder / "server.crt").unlink(), "No such file or directory"),
        (lambda f: (f.folder / "server.crt").write_text("nonsense"), "no certificate in PEM form is in it"),
        (lambda f: (f.folder / "server.key").write_text("nonsense"), "no private key in PEM form is in it"),
        (
            lambda f: (f.folder / "server.key").write_bytes((f.folder / "client.key").read_bytes()),
            "the key does not belong to the certificate in ",
        ),
    ],
)
def test_a_file_that_is_of_no_use_changes_nothing(
    rehearsal: Rehearsal, tmp_path: Any, spoil: Any, words: str | None
) -> None:
    """A reload that would lock clients out is refused as a whole, and the message names the file and what is wrong."""
    spoiled = Files(tmp_path)
    spoil(spoiled)
    if words is None:
        rehearsal.reload(top={"tls": spoiled.settings()})
        return
    with pytest.raises(SettingsError, match=words) as caught:
        rehearsal.reload(top={"tls": spoiled.settings(), "shutdown_grace": 1.0})
    assert caught.value.message.startswith(("tls.cert = '", "tls.key = '"))
    assert rehearsal.beam.settings.shutdown_grace != 1.0
    caller = Caller(rehearsal)
    asked(caller)
    assert tags(caller.send(HELLO)) == "RSKZ"


def test_a_handshake_that_takes_too_long_is_ended(rehearsal: Rehearsal) -> None:
    """A descriptor is held for login_timeout_s and no longer, however slowly the bytes come."""
    caller = Caller(rehearsal)
    caller.raw(SSLRequest().to_bytes())
    for _ in range(20):
        rehearsal.advance(0.8)
        caller.raw(b"\x16")
    assert caller.closed


def test_a_handshake_without_end_is_ended(caller: Caller) -> None:
    """A client that sends and sends costs no memory."""
    caller.raw(SSLRequest().to_bytes())
    for _ in range(40):
        caller.raw(b"\x16\x03\x01\x40\x00" + bytes(16384))
    assert caller.closed


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_in_place_of_a_handshake(rehearsal: Rehearsal, data: st.DataObject) -> None:
    """Whatever is sent, at whatever point: an error or silence, nobody is let in, and nothing stays behind."""
    caller = Caller(rehearsal)
    if data.draw(st.booleans(), "asks"):
        caller.raw(SSLRequest().to_bytes())
    for piece in data.draw(st.lists(st.binary(min_size=1, max_size=200), max_size=6), "pieces"):
        caller.raw(data.draw(st.sampled_from([b"", b"\x16\x03\x01"]), "start") + piece)
    assert not rehearsal.beam.sessions
    caller.transport.protocol.connectionLost(Failure(ConnectionDone()))
    assert caller.protocol not in rehearsal.beam.clients


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 400), value=st.integers(0, 255))
def test_a_changed_byte_ends_the_connection(rehearsal: Rehearsal, at: int, value: int) -> None:
    """What was changed on the way is not read as if it had not been."""
    caller = Caller(rehearsal)
    asked(caller)
    assert caller.tls is not None
    caller.tls.write(HELLO)
    record = bytearray(caller._outgoing.read())
    at %= len(record)
    if record[at] == value:
        return
    record[at] = value
    caller.raw(bytes(record))
    assert not rehearsal.beam.sessions
    caller.transport.protocol.connectionLost(Failure(ConnectionDone()))


def test_at_the_start_an_expired_certificate_is_used_and_told(tmp_path: Any) -> None:
    """Clients that do not check it are better served than by nobody, and the log says what is wrong."""
    spoilt = Files(tmp_path)
    said: list[LogEvent] = []
    spoilt.write_expired("server")
    globalLogPublisher.addObserver(said.append)
    try:
        entrance = Entrance(Settings(tls=Tls(Path(spoilt["server.crt"]), Path(spoilt["server.key"]))), Clock())
    finally:
        globalLogPublisher.removeObserver(said.append)
    assert entrance.tls is not None
    assert any("the certificate expired on" in formatEvent(event) for event in said)


def test_a_host_name_that_is_none_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers do not write tracebacks to PgBeam's stderr by asking for a host name in other bytes than ASCII."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with make() as rehearsal:
        caller = Caller(rehearsal)
        outgoing = ssl.MemoryBIO()
        tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="shop.example.com")
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        assert caller.raw(SSLRequest().to_bytes()) == b"S"
        caller.raw(outgoing.read().replace(b"shop.", b"sh\xefp."))
        assert caller.closed
        assert rehearsal.beam.entrance.failed_handshakes.reasons.total() == 1
    assert told == []
