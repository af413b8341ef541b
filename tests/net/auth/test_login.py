"""Who is let in, by what, and what PgBeam logs in to servers with. Without sockets."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import datetime as dt
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from pgbeam_core.net.auth.checks import end_point
from pgbeam_core.net.auth.login import Login
from pgbeam_core.testing import FakePostgres, Rehearsal, startup, table
from pgbeam_core.testing.chunks import byte_by_byte, in_one_piece
from pgbeam_core.wire.authentication import AuthenticationSASL
from pgbeam_core.wire.frames import frame
from pgbeam_core.wire.frontend import SASLInitialResponse, SASLResponse
from pgbeam_core.wire.scram import verifier
from pgbeam_core.wire.secrets import Md5Hash
from tests.net.auth.callers import Caller
from tests.session.stage import query, tags

PASSWORD = "sesame"
SECRETS = {
    "scram": verifier(PASSWORD, b"app"),  # the salt that FakePostgres takes
    "md5": Md5Hash.of("app", PASSWORD.encode()).text.decode(),
    "password": PASSWORD,
}
TLS = {"encrypted": True}


@contextmanager
def rehearsed(auth: str, method: str = "", **project: Any) -> Iterator[Rehearsal]:
    """A PgBeam whose server asks by that method; without one, nobody."""
    fake = FakePostgres({"SELECT 1": table(["a"], [["1"]])})
    if method:
        fake.method, fake.passwords["app"] = method, PASSWORD
    with Rehearsal({}, project={"auth": auth, **project}, servers={"primary:5432": fake}) as one:
        one.beam.remembers_servers = True  # type: ignore[attr-defined]
        yield one


def users(secret: str) -> dict[str, Mapping[str, str]]:
    """The setting."""
    return {"users": {"app": SECRETS[secret]}}


@pytest.mark.parametrize("chunks", [in_one_piece, byte_by_byte])
@pytest.mark.parametrize(
    ("secret", "method"),
    [("scram", ""), ("scram", "scram"), ("md5", ""), ("md5", "md5"), *(("password", m) for m in ("", *SECRETS))],
)
def test_pgbeam_checks_and_logs_in(secret: str, method: str, chunks: Any) -> None:
    """Each kind of secret lets the client in, and PgBeam into a server that asks for what it is good for."""
    with rehearsed("scram", method, **users(secret)) as one:
        caller = Caller(one, chunks=chunks)
        assert caller.log_in() == ""
        assert caller.methods[0] == ("MD5_PASSWORD" if secret == "md5" else "SASL")
        assert tags(b"".join(caller.send(query("SELECT 1")))) == "TDCZ"


@pytest.mark.parametrize(("secret", "method"), [("scram", "md5"), ("scram", "password"), ("md5", "scram")])
def test_a_secret_that_the_server_has_no_use_for(secret: str, method: str) -> None:
    """The client is told what the server wants, and nothing hangs."""
    with rehearsed("scram", method, **users(secret)) as one:
        caller = Caller(one)
        assert caller.log_in() == "08006"
        assert "server wants to authenticate" in caller.error["M"]
        assert one.primary.connections == set()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("user", ["app", "nobody"])
def test_a_wrong_password_and_no_user_are_told_the_same(secret: str, user: str) -> None:
    """28P01 behind the same messages, and no server is opened for either."""
    with rehearsed("scram", **users(secret)) as one:
        caller = Caller(one)
        assert caller.log_in(user, "wrong") == "28P01"
        assert caller.error["M"] == f'password authentication failed for user "{user}"'
        assert caller.closed
        assert one.primary.logins == 0
        assert caller.methods[0] == ("MD5_PASSWORD" if secret == "md5" else "SASL")
        assert [said[:1] for said in caller.said] == ([b"R", b"E"] if secret == "md5" else [b"R", b"R", b"E"])


def test_a_user_that_is_not_there_keeps_its_salt() -> None:
    """A salt that changes with each try would tell that there is no such user."""
    with rehearsed("scram", **users("scram")) as one:
        salts = set()
        for _ in range(2):
            caller = Caller(one)
            caller.log_in("nobody", "x")
            salts.add(caller.said[1].split(b",")[1])
        assert len(salts) == 1


def test_a_second_login_needs_no_server() -> None:
    """It is answered with the parameters of the first one's server; a query gets one."""
    with rehearsed("scram", "scram", **users("scram")) as one:
        first, second = Caller(one), Caller(one)
        assert first.log_in() == ""
        assert one.primary.logins == 1
        assert second.log_in() == ""
        assert one.primary.logins == 1
        kinds = [b"".join(said[:1] for said in caller.said) for caller in (first, second)]
        assert kinds[0] == kinds[1]
        assert tags(b"".join(second.send(query("SELECT 1")))) == "TDCZ"


@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
@pytest.mark.parametrize("secret", SECRETS)
def test_a_proof_leaves_nothing_to_the_collector(secret: str, password: str) -> None:
    """Whoever has proven itself, or failed to, is forgotten at once: clients come by the thousand a second."""
    with rehearsed("scram", **users(secret)) as one:
        others = {id(made) for made in gc.get_objects() if type(made) is Login}
        gc.disable()
        try:
            caller = Caller(one)
            assert caller.log_in("app", password) == ("" if password == PASSWORD else "28P01")
            caller.vanish()
            del caller
            assert [made for made in gc.get_objects() if type(made) is Login and id(made) not in others] == []
        finally:
            gc.enable()


@pytest.mark.parametrize("garbage", [b"", b"p\0\0\0\4"])
@pytest.mark.parametrize("password", ["sesame", "wrong"])
def test_what_comes_with_the_proof_is_for_later(password: str, garbage: bytes) -> None:
    """A client that sends its first query along with its proof gets its reply; where the proof is wrong, an error."""
    with rehearsed("scram", **users("scram")) as rehearsal:
        assert Caller(rehearsal).log_in() == ""  # what is known from it lets the next one in at once
        caller = Caller(rehearsal)
        first = caller.send(startup("app", "shop"))
        challenge = caller.send(b"".join(caller._answer(frame, "app", password) for frame in first))
        proof = b"".join(caller._answer(frame, "app", password) for frame in challenge)
        got = caller.send(proof + garbage + query("SELECT 1"))
        if password == "wrong":
            assert caller.error["C"] == "28P01"
        elif garbage:
            assert caller.error["C"] == "08P01"
        else:
            assert tags(b"".join(got))[-4:] == "TDCZ"


def test_many_logins_at_once_open_one_server() -> None:
    """Who comes while it is being opened waits for it; if its client leaves, the next one opens another."""
    with rehearsed("scram", **users("scram")) as one:
        one.primary.silent = True
        callers = [Caller(one) for _ in range(100)]
        assert {caller.log_in() for caller in callers} == {"waits"}
        assert len(one.primary.connections) == 1
        callers[0].vanish()
        one.pump()
        one.primary.silent = False
        (connection,) = one.primary.connections
        connection.dataReceived(startup("app", "shop"))
        one.advance(3)
        for caller in callers[1:]:
            caller.hear()
        assert {caller.said[-1][:1] for caller in callers[1:]} == {b"Z"}
        assert one.primary.logins == 1


def test_after_a_while_a_server_is_asked_again() -> None:
    """What was changed in PostgreSQL past PgBeam holds for logins after a minute."""
    with rehearsed("scram", "scram", **users("scram")) as one:
        assert Caller(one).log_in() == ""
        one.primary.salts["app"] = b"another"
        assert Caller(one).log_in() == ""
        one.advance(61, step=10)
        late = Caller(one)
        assert late.log_in() == "28P01"
        assert "is not the one that the server has" in late.error["M"]


@pytest.mark.parametrize("method", ["scram", "md5"])
def test_passthrough_over_tls_asks_for_the_password_once(method: str) -> None:
    """Then PgBeam checks by what it has kept, for clients without TLS too, and opens servers by itself."""
    with rehearsed("passthrough", method) as one:
        first = Caller(one, **TLS)
        assert first.log_in() == ""
        assert first.methods == ["CLEARTEXT_PASSWORD"]
        for channel in (TLS, {}):
            later = Caller(one, **channel)
            assert later.log_in() == ""
            assert later.methods[0] == ("SASL" if method == "scram" else "MD5_PASSWORD")
        assert one.primary.logins == 1
        one.primary.crash()
        one.pump()
        assert tags(b"".join(first.send(query("SELECT 1")))) == "TDCZ"


@pytest.mark.parametrize("channel", [TLS, {}])
@pytest.mark.parametrize("method", ["password", "md5", "scram"])
def test_passthrough_refuses_as_the_server_does(method: str, channel: Any) -> None:
    """A wrong password is 28P01, whoever is asked, and nothing is learned from it."""
    with rehearsed("passthrough", method) as one:
        assert Caller(one, **channel).log_in(password="wrong") == "28P01"
        assert len(one.beam.authority.secrets.keyring) == 0
        assert one.primary.connections == set()


@pytest.mark.parametrize("method", ["scram", "md5"])
def test_a_changed_password_is_taken_at_once_and_the_old_one_no_more(method: str) -> None:
    """A proof that does not fit makes PgBeam look whether it is its own keys that do not."""
    with rehearsed("passthrough", method) as one:
        assert Caller(one, **TLS).log_in() == ""
        wrong = Caller(one, **TLS)
        assert wrong.log_in(password="wrong") == "28P01"
        assert "CLEARTEXT_PASSWORD" not in wrong.methods
        one.primary.passwords["app"], one.primary.salts["app"] = "open", b"another"
        fresh = Caller(one, **TLS)
        assert fresh.log_in(password="open") == ""
        assert fresh.methods[-1] == "CLEARTEXT_PASSWORD"
        assert Caller(one, **TLS).log_in(password=PASSWORD) == "28P01"
        assert Caller(one, **TLS).log_in(password="open") == ""


def test_without_tls_a_changed_password_is_refused_once() -> None:
    """There is no asking again inside an exchange; the next login is relayed."""
    with rehearsed("passthrough", "scram") as one:
        assert Caller(one, **TLS).log_in() == ""
        one.primary.passwords["app"], one.primary.salts["app"] = "open", b"another"
        assert Caller(one).log_in(password="open") == "28P01"
        assert Caller(one).log_in(password="open") == ""


def test_leaving_instead_of_telling_the_password_is_no_failure(told: list[str]) -> None:
    """A client that will not send its password in TLS goes, as libpq does with require_auth; the log keeps quiet."""
    with rehearsed("passthrough", "scram") as one:
        caller = Caller(one, **TLS)
        caller.send(startup("app", "shop"))
        assert caller.methods == []
        caller.vanish()
        one.pump()
        assert one.primary.connections == set()
    assert not [text for text in told if "no secret" in text]


def test_an_unknown_mechanism_is_relayed() -> None:
    """PgBeam need not understand OAUTHBEARER for a client and a server to agree."""
    fake = FakePostgres()
    with Rehearsal({}, servers={"primary:5432": fake}) as one:
        for channel in ({}, TLS):
            fake.silent = True
            caller = Caller(one, **channel)
            caller.send(startup("app", "shop"))
            server = fake.connections.pop()
            transport: Any = server.transport
            transport.write(AuthenticationSASL((b"OAUTHBEARER",)).to_bytes())
            got = caller.hear()
            assert AuthenticationSASL.from_bytes(got[0]).mechanisms == (b"OAUTHBEARER",)
            heard: list[bytes] = []
            server.dataReceived = heard.append  # type: ignore[method-assign]
            answer = SASLInitialResponse(b"OAUTHBEARER", b"n,,\x01auth=Bearer token\x01\x01").to_bytes()
            caller.send(answer)
            assert heard == [answer]
            caller.vanish()


def certificate(common: str, *others: str) -> bytes:
    """DER of a certificate of that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(1))
    if others:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(other) for other in others]), False)
    return made.sign(key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)


def test_channel_binding_is_to_pgbeams_certificate() -> None:
    """SCRAM-SHA-256-PLUS is offered over TLS; a binding to somebody else's certificate is refused."""
    mine, other = certificate("pgbeam"), certificate("somebody in the middle")
    with rehearsed("scram", **users("scram")) as one:
        tls = {**TLS, "server_certificate": mine}
        assert Caller(one, **tls).log_in(binding=end_point(mine)) == ""
        assert Caller(one, **tls).log_in() == ""
        assert Caller(one, **tls).log_in(binding=end_point(other)) == "28000"


@pytest.mark.parametrize(
    ("names", "user_map", "user", "is_in"),
    [
        (("app",), {}, "app", True),
        (("App",), {}, "app", False),
        (("x", "app"), {}, "app", True),
        (("app@example.com",), {r"/^(.*)@example\.com$": r"\1"}, "app", True),
        (("app@example.com.evil",), {r"/^(.*)@example\.com$": r"\1"}, "app", False),
        (("app",), {"deploy": "app"}, "app", False),
        (("deploy",), {"deploy": ["reports", "app"]}, "app", True),
        (("deploy",), {"deploy": "all"}, "app", True),
    ],
)
def test_a_certificate_lets_in_whom_it_names(names: tuple[str, ...], user_map: Any, user: str, is_in: bool) -> None:
    """By its common name or an alternative name, or as the map says; nobody else."""
    with rehearsed("cert", user_map=user_map) as one:
        shown = Caller(one, **TLS, certificate=certificate(*names))
        assert shown.log_in(user) == ("" if is_in else "28000")
        assert Caller(one, **TLS).log_in(user) == "28000"


@pytest.mark.parametrize(("who", "is_in"), [("app", True), ("root", False), (None, False)])
def test_a_user_of_the_system_is_let_in_as_himself(who: str | None, is_in: bool) -> None:
    """Over a unix socket; nobody over TCP."""
    with rehearsed("peer") as one:
        assert Caller(one, system_user=who).log_in() == ("" if is_in else "28000")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4), st.sampled_from(["scram", "md5", "password"]), st.booleans())
def test_garbage_in_an_exchange_harms_nobody(answers: list[bytes], secret: str, tls: bool) -> None:
    """Whatever a client answers, it is refused with an error of a class that fits, and nothing stays behind."""
    with rehearsed("scram", **users(secret)) as one:
        caller = Caller(one, encrypted=tls)
        caller.send(startup("app", "shop"))
        for answer in answers:
            if not caller.closed:
                caller.send(frame(ord("p"), answer))
        if caller.closed:
            assert caller.error["C"][:2] in ("08", "28", "0A")
        caller.vanish()
        assert one.beam.sessions == {}
        assert one.primary.logins == 0


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_garbage_in_scram_messages_is_refused(first: bytes, final: bytes) -> None:
    """A mechanism that is right does not make what follows right."""
    with rehearsed("scram", **users("scram")) as one:
        caller = Caller(one)
        caller.send(startup("app", "shop"))
        caller.send(SASLInitialResponse(b"SCRAM-SHA-256", first).to_bytes())
        if not caller.closed:
            caller.send(SASLResponse(final).to_bytes())
        assert caller.closed
        assert one.primary.logins == 0
