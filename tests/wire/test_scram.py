"""SCRAM-SHA-256 from both sides: the RFC's example, recorded logins, and what must fail."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire import authentication as auth
from pgbeam_core.wire.frames import FrameCutter
from pgbeam_core.wire.frontend import PasswordMessage, SASLInitialResponse, SASLResponse
from pgbeam_core.wire.scram import (
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    ScramClient,
    ScramKeys,
    ScramServer,
    StaleKeys,
    Verifier,
    md5_password,
    mock_verifier,
    parse_verifier,
    saslprep,
    verifier,
)
from pgbeam_core.wire.startup import StartupReader
from tests.wire.samples import read

SALT = bytes(range(16))
KEPT = parse_verifier(verifier("sesame", SALT, 8))


def nonce() -> bytes:
    return b"nonce of 18 bytes!"


def talk(client: ScramClient, server: ScramServer) -> bytes | None:
    """A whole exchange; the server's last word."""
    final = server.final(client.final(server.first(client.first())))
    if final is not None:
        client.verify(final)
    return final


def test_the_example_of_rfc_7677() -> None:
    """Both sides say, byte for byte, what the RFC says."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    client = ScramClient("user", "pencil", lambda: base64.b64decode("rOprNGfwEbeRWgbNEkqO"))
    client_first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    server_first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    client_final = (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    server_final = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert client.first() == client_first
    assert client.final(server_first) == client_final
    client.verify(server_final)
    assert client.keys == ScramKeys.from_password("pencil", salt, 4096)


def recorded_login(name: str) -> tuple[list[bytes], list[bytes]]:
    """The frames of a recorded login that both sides sent, the startup packet left out."""
    reader = StartupReader()
    assert reader.feed(read(f"{name}.client")) is not None
    return FrameCutter().feed(reader.rest()), FrameCutter().feed(read(f"{name}.server"))


def nonce_in(message: bytes) -> bytes:
    return base64.b64decode(message.partition(b"r=")[2].partition(b",")[0])


@pytest.mark.parametrize("name", ["pg15-scram", "pg18-scram"])
def test_a_recorded_login_is_what_both_our_sides_would_have_said(name: str) -> None:
    """libpq and PostgreSQL, each replaced by ours, make the same bytes."""
    sent, got = recorded_login(name)
    assert auth.AuthenticationSASL.from_bytes(got[0]).mechanisms == (SCRAM_SHA_256.encode(),)
    initial = SASLInitialResponse.from_bytes(sent[0])
    assert initial.mechanism == SCRAM_SHA_256.encode()
    client_first = initial.data or b""
    server_first = auth.AuthenticationSASLContinue.from_bytes(got[1]).data
    client_final = SASLResponse.from_bytes(sent[1]).data
    server_final = auth.AuthenticationSASLFinal.from_bytes(got[2]).data

    client = ScramClient("", "sesame", lambda: nonce_in(client_first))
    assert client.first() == client_first
    assert client.final(server_first) == client_final
    client.verify(server_final)

    assert client.keys is not None
    keys = client.keys
    kept = Verifier(keys.iterations, keys.salt, keys.stored_key, keys.server_key)
    own = base64.b64decode(server_first.partition(b",")[0][2 + len(base64.b64encode(nonce_in(client_first))) :])
    server = ScramServer(kept, lambda: own)
    assert server.first(client_first) == server_first
    assert server.final(client_final) == server_final
    assert server.keys == keys


@pytest.mark.parametrize("name", ["pg15-wrong", "pg18-wrong"])
def test_a_recorded_wrong_password_is_wrong_for_us_too(name: str) -> None:
    """The proof that a real server refused does not fit the right password's verifier."""
    sent, got = recorded_login(name)
    client_first = SASLInitialResponse.from_bytes(sent[0]).data or b""
    server_first = auth.AuthenticationSASLContinue.from_bytes(got[1]).data
    own = base64.b64decode(server_first.partition(b",")[0][2 + len(base64.b64encode(nonce_in(client_first))) :])
    salt = base64.b64decode(server_first.partition(b",s=")[2].partition(b",")[0])
    server = ScramServer(parse_verifier(verifier("sesame", salt, 4096)), lambda: own)
    assert server.first(client_first) == server_first
    assert server.final(SASLResponse.from_bytes(sent[1]).data) is None
    assert server.keys is None


@pytest.mark.parametrize("name", ["pg15-md5", "pg18-md5"])
def test_a_recorded_md5_login_is_what_we_would_have_said(name: str) -> None:
    """Old servers are still there."""
    sent, got = recorded_login(name)
    salt = auth.AuthenticationMD5Password.from_bytes(got[0]).salt
    assert PasswordMessage.from_bytes(sent[0]).password == md5_password("md5", "sesame", salt)


VERIFIERS = [
    pytest.param(password, kept, id=f"{name} {password!a}")
    for name in ("pg15", "pg18")
    for password, kept in json.loads(read(f"{name}-verifiers.json")).items()
]


@pytest.mark.parametrize(("password", "kept"), VERIFIERS)
def test_a_verifier_is_what_a_real_server_kept_of_that_password(password: str, kept: str) -> None:
    """SASLprep as PostgreSQL does it, its own order of checks included."""
    parsed = parse_verifier(kept)
    assert verifier(password, parsed.salt, parsed.iterations) == kept
    assert str(parsed) == kept


def test_a_password_that_is_not_utf8_is_used_as_it_is() -> None:
    """Latin-1 passwords log in as they always did, as bytes or read with surrogates."""
    assert saslprep(b"p\xe4ss") == saslprep("p\udce4ss") == b"p\xe4ss"


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(words, words)
def test_whoever_knows_the_password_gets_in(password: str, user: str) -> None:
    """Both sides of ours understand each other, and the server learns the client's keys."""
    client = ScramClient(user, password, nonce)
    server = ScramServer(parse_verifier(verifier(password, SALT, 2)), nonce)
    assert talk(client, server) is not None
    assert server.keys == client.keys == ScramKeys.from_password(password, SALT, 2)


def test_keys_get_in_without_the_password() -> None:
    """What the server learned from one login is enough for the next."""
    server = ScramServer(KEPT, nonce)
    talk(ScramClient("ann", "sesame", nonce), server)
    assert server.keys is not None
    assert talk(ScramClient("ann", server.keys, nonce), ScramServer(KEPT, nonce)) is not None


def test_keys_of_an_old_password_are_told_apart() -> None:
    """A new salt means that the password was set anew: the keys are of no use, and nothing is sent."""
    keys = ScramKeys.from_password("sesame", SALT, 8)
    server = ScramServer(parse_verifier(verifier("sesame", b"another salt", 8)), nonce)
    client = ScramClient("ann", keys, nonce)
    with pytest.raises(StaleKeys):
        client.final(server.first(client.first()))


def test_a_wrong_password_gets_no_final_message() -> None:
    """The server says nothing more; the caller words the refusal."""
    server = ScramServer(KEPT, nonce)
    assert talk(ScramClient("ann", "guess", nonce), server) is None
    assert server.keys is None


def test_nobody_gets_in_as_a_user_that_does_not_exist() -> None:
    """The exchange looks real, its salt is constant per user, and no password fits."""
    mock = mock_verifier("ghost", b"secret")
    assert mock == mock_verifier("ghost", b"secret")
    assert mock.salt != mock_verifier("other", b"secret").salt
    assert (len(mock.salt), mock.iterations) == (16, 4096)
    assert talk(ScramClient("ghost", "sesame", nonce), ScramServer(mock, nonce)) is None


def test_secrets_are_not_in_the_repr() -> None:
    """Keys are as good as a password and must not reach a log."""
    keys = ScramKeys.from_password("sesame", SALT, 8)
    for shown in (repr(keys), repr(KEPT)):
        assert repr(keys.client_key) not in shown
        assert repr(keys.server_key) not in shown


def bound(binding: bytes | None = b"hash") -> tuple[ScramClient, ScramServer]:
    client = ScramClient("", "sesame", nonce, binding=binding)
    return client, ScramServer(KEPT, nonce, mechanism=client.mechanism, binding=b"hash")


def test_channel_binding_passes_when_both_see_the_same_certificate() -> None:
    """tls-server-end-point, and TLS without it, as libpq offers both."""
    assert talk(*bound()) is not None
    assert bound()[0].mechanism == SCRAM_SHA_256_PLUS
    assert talk(*bound(None)) is not None


def test_channel_binding_fails_when_somebody_is_in_between() -> None:
    """A certificate that is not ours."""
    with pytest.raises(ProtocolViolation, match="SCRAM channel binding check failed") as caught:
        talk(*bound(b"other"))
    assert caught.value.sqlstate == "28000"


def test_a_mechanism_that_was_not_offered_is_refused() -> None:
    """PLUS needs TLS."""
    for mechanism in (SCRAM_SHA_256_PLUS, "PLAIN"):
        with pytest.raises(ProtocolViolation, match="client selected an invalid SASL authentication mechanism"):
            ScramServer(KEPT, nonce, mechanism=mechanism)


@pytest.mark.parametrize(
    ("first", "plus", "tls", "words"),
    [
        (b"", False, False, "malformed SCRAM message"),
        (b"n,,n=,r=x\0", False, False, "malformed SCRAM message"),
        (b"x,,n=,r=x", False, False, "malformed SCRAM message"),
        (b"n;,n=,r=x", False, False, "malformed SCRAM message"),
        (b"n,x,n=,r=x", False, False, "malformed SCRAM message"),
        (b"n,a=root,n=,r=x", False, False, "client uses authorization identity, but it is not supported"),
        (b"n,,m=x,n=,r=x", False, False, "client requires an unsupported SCRAM extension"),
        (b"n,,r=x", False, False, "malformed SCRAM message"),
        (b"n,,n=", False, False, "malformed SCRAM message"),
        (b"n,,n=,r=\x7f", False, False, "non-printable characters in SCRAM nonce"),
        (b"n,,n=,r=x,1", False, False, "malformed SCRAM message"),
        (b"p=tls-server-end-point,,n=,r=x", False, True, "malformed SCRAM message"),
        (b"p=tls-unique,,n=,r=x", True, True, 'unsupported SCRAM channel-binding type "tls-unique"'),
        (b"n,,n=,r=x", True, True, "malformed SCRAM message"),
        (b"y,,n=,r=x", False, True, "SCRAM channel binding negotiation error"),
    ],
)
def test_a_wrong_first_message_is_refused(first: bytes, plus: bool, tls: bool, words: str) -> None:
    """Each with the reason that PostgreSQL gives."""
    mechanism = SCRAM_SHA_256_PLUS if plus else SCRAM_SHA_256
    server = ScramServer(KEPT, nonce, mechanism=mechanism, binding=b"hash" if tls else None)
    with pytest.raises(ProtocolViolation) as caught:
        server.first(first)
    assert caught.value.message.startswith(words)


def test_a_client_that_could_bind_may_go_on_without_tls() -> None:
    """The flag y is an attack only where binding was offered."""
    server = ScramServer(KEPT, nonce)
    said = server.first(b"y,,n=,r=x")
    assert server.final(b"c=eSws," + said.partition(b",")[0] + b",p=" + base64.b64encode(bytes(32))) is None
    with pytest.raises(ProtocolViolation, match="unexpected SCRAM channel-binding attribute"):
        server.final(b"c=biws," + said.partition(b",")[0] + b",p=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize(
    "change",
    [
        lambda final: final.replace(b"r=", b"r=x"),
        lambda final: final.replace(b"c=biws", b"c=eSws"),
        lambda final: final[: final.rindex(b",p=")],
        lambda final: final[:-8],
        lambda final: final + b",x=y",
        lambda final: b"",
    ],
)
def test_a_wrong_final_message_is_refused(change: object) -> None:
    """Nonce, binding, proof and nothing after it."""
    client, server = ScramClient("", "sesame", nonce), ScramServer(KEPT, nonce)
    final = client.final(server.first(client.first()))
    assert callable(change)
    with pytest.raises(ProtocolViolation):
        server.final(change(final))


def test_an_extension_that_nobody_knows_is_skipped() -> None:
    """It is signed with the rest, so the proof must be made over it."""
    client, server = ScramClient("", "sesame", nonce), ScramServer(KEPT, nonce)
    final = client.final(server.first(client.first()))
    assert server.final(final.replace(b",p=", b",x=y,p=")) is None


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"r=short,s=AAAA,i=1",
        b"r=%b,s=AAAA,i=1",
        b"r=%bx,s=?,i=1",
        b"r=%bx,s=AAAA,i=0",
        b"r=%bx,s=AAAA,i=99999999999",
        b"r=%bx,s=AAAA,i=+1",
        b"r=%bx,s=AAAA",
        b"m=x,r=%bx,s=AAAA,i=1",
    ],
)
def test_a_wrong_challenge_is_refused(said: bytes) -> None:
    """A server that does not add to our nonce, or asks for nonsense, gets no proof."""
    with pytest.raises(ProtocolViolation):
        ScramClient("", "x", nonce).final(said.replace(b"%b", base64.b64encode(nonce())))


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    """Its signature is wrong, it names an error, or it comes before its turn."""
    client, server = ScramClient("", "sesame", nonce), ScramServer(KEPT, nonce)
    for early in (lambda: client.verify(b"v="), lambda: server.final(b"c=biws,r=x,p=")):
        with pytest.raises(ProtocolViolation, match="invalid SCRAM exchange state"):
            early()
    client.final(server.first(client.first()))
    for said, words in (
        (b"v=" + base64.b64encode(bytes(32)), "incorrect server signature"),
        (b"v=AAAA", "invalid server signature"),
        (b"e=other-error", "error received from server in SCRAM exchange: other-error"),
    ):
        with pytest.raises(ProtocolViolation, match=words):
            client.verify(said)


@given(st.binary(max_size=80))
def test_garbage_is_refused_by_both_sides(garbage: bytes) -> None:
    """Nothing but a ProtocolViolation comes out, at any step."""
    client, server = ScramClient("", "sesame", nonce), ScramServer(KEPT, nonce)
    final = client.final(server.first(client.first()))
    steps = (
        lambda: ScramServer(KEPT, nonce).first(b"n,," + garbage),
        lambda: ScramServer(KEPT, nonce).first(garbage),
        lambda: server.final(garbage),
        lambda: server.final(final[:40] + garbage),
        lambda: ScramClient("", "x", nonce).final(garbage),
        lambda: client.verify(garbage),
        lambda: client.verify(b"v=" + garbage),
    )
    for step in steps:
        try:
            step()
        except ProtocolViolation:
            continue


@pytest.mark.parametrize(
    "text",
    ["", "md5abc", "SCRAM-SHA-1$1:AAAA$AAAA:AAAA", "SCRAM-SHA-256$0:AAAA$AAAA:AAAA", "SCRAM-SHA-256$x", "é\udcff"],
)
def test_what_is_no_verifier_is_refused(text: str) -> None:
    """A ValueError, because it is the settings or the catalog that are wrong, not the client."""
    with pytest.raises(ValueError, match="not a SCRAM-SHA-256 verifier"):
        parse_verifier(text)
