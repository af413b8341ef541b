"""A PostgreSQL that answers what it was told to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from pgbeam_core.catalog import catalog_query
from pgbeam_core.internal import inspection
from pgbeam_core.internal.borrowed_query import OWN_SETTINGS
from pgbeam_core.net import timeouts
from pgbeam_core.net.identifying import IDENTITY_QUERY
from pgbeam_core.session import settings
from pgbeam_core.session.beginning import AFTER_READS
from pgbeam_core.testing.frames import done, error, table
from pgbeam_core.wire import backend, frontend, names
from pgbeam_core.wire.authentication import (
    AuthenticationCleartextPassword,
    AuthenticationMD5Password,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
)
from pgbeam_core.wire.frames import FrameCutter, split
from pgbeam_core.wire.scram import (
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    ScramServer,
    md5_password,
    parse_verifier,
    verifier,
)
from pgbeam_core.wire.startup import GSSENCRequest, SSLRequest, StartupMessage, StartupReader

Told = bytes | Callable[[str], bytes]
"""The frames of a reply but for its ReadyForQuery, or a function of the SQL text that gives them."""

_OWN_QUESTIONS = frozenset(
    text.decode()
    for text in (
        catalog_query.CATALOG_QUERY,
        settings.difference({}, OWN_SETTINGS),
        settings.difference(OWN_SETTINGS, {}),
        *(timeouts.lifting(some) for size in (1, 2, 3) for some in combinations(timeouts.NAMES, size)),
    )
    if text is not None
)
"""What PgBeam asks about a database, the timeouts of the question, and the end of these and of clients' timeouts."""
_OWN_WORDS = ("SET", "RESET", "DISCARD", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "DEALLOCATE")
_MD5_SALT = b"salt"
_STATUS_AFTER = {"BEGIN": b"T", "COMMIT": b"I", "ROLLBACK": b"I"}


def _first_word(sql: str) -> str:
    return next(iter(sql.split()), "").upper()


class FakePostgres(Factory):
    """A scripted server: give it to a `Rehearsal`, or to `reactor.listenTCP` for drivers.

    answers: the reply to each SQL text. passwords: by user; those not in it need none. Attributes may be changed at
    any time: `down` refuses connections, `silent` takes them and says nothing, `method` is how it asks for passwords:
    `password`, `md5` or `scram`.
    """

    noisy = False

    def __init__(
        self, answers: Mapping[str, Told] | None = None, *, passwords: Mapping[str, str] | None = None
    ) -> None:
        self.answers: dict[str, Told] = dict(answers or {})
        self.passwords = dict(passwords or {})
        self.oids: tuple[int, int, int] | None = (10, 10, 5)
        """Of the role, the role in effect and the database; None: it does not know such things."""
        self.recovering = "f"
        self.down = False
        self.silent = False
        self.method = "password"
        self.salts: dict[str, bytes] = {}
        """Of the passwords, for SCRAM: another one, and keys made before are of no use."""
        self.asked: list[str] = []
        """Every SQL text that arrived for execution, PgBeam's own among them, but for what it asks about servers: who
        they are, what is defined in the database, what a client has left there. (It is told: nothing.)"""
        self.logins = 0
        self.connections: set[_Backend] = set()

    def buildProtocol(self, addr: object) -> _Backend:
        return _Backend(self)

    def crash(self) -> None:
        """Drop every connection, as a crash would."""
        for connection in list(self.connections):
            transport: Any = connection.transport
            transport.abortConnection()

    def reply(self, sql: str) -> bytes:
        """What it says to an SQL text."""
        if sql == IDENTITY_QUERY.decode():
            if self.oids is None:
                return error("42883", "function pg_catalog.pg_stat_get_activity(integer) does not exist")
            columns = ["role", "effective", "database", "isolation", "recovering", "template"]
            return table(columns, [[*map(str, self.oids), "read committed", self.recovering, "f"]])
        if sql == AFTER_READS.decode():
            return done("SELECT 0")
        told = self.answers.get(sql.strip())
        if told is None and (sql in _OWN_QUESTIONS or sql.startswith(inspection.FIRST)):
            return done("SELECT 0")
        self.asked.append(sql)
        if callable(told):
            return told(sql)
        if told is not None:
            return told
        word = _first_word(sql)
        return done(word) if word in _OWN_WORDS else error("XX000", f"FakePostgres was not told what to say to: {sql}")


class _Backend(Protocol):
    """One connection to a FakePostgres: login, both query protocols, transactions, COPY as far as it is told."""

    def __init__(self, fake: FakePostgres) -> None:
        self._fake = fake
        self._startup: StartupReader | None = StartupReader()
        self._cutter = FrameCutter()
        self._user = ""
        self._scram: ScramServer | None = None
        self._scram_asks = False
        self._in = False
        self._status = b"I"
        self._skipping = False
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def connectionMade(self) -> None:
        self._fake.connections.add(self)

    def connectionLost(self, reason: object = None) -> None:
        self._fake.connections.discard(self)

    def dataReceived(self, data: bytes) -> None:
        if self._fake.silent:
            return
        if self._startup is not None:
            packet = self._startup.feed(data)
            if isinstance(packet, SSLRequest | GSSENCRequest):
                self._write(b"N")
            elif isinstance(packet, StartupMessage):
                data, self._startup = self._startup.rest(), None
                self._started(packet)
                self.dataReceived(data)
            elif packet is not None:
                self._hang_up()
            return
        for frame in self._cutter.feed(data):
            self._message(chr(frame[0]), frame)

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)

    def _hang_up(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()

    # Logging in.

    def _started(self, packet: StartupMessage) -> None:
        self._user = packet.parameters["user"]
        if self._user not in self._fake.passwords:
            self._let_in()
        elif self._fake.method == "md5":
            self._write(AuthenticationMD5Password(_MD5_SALT).to_bytes())
        elif self._fake.method == "scram":
            self._write(AuthenticationSASL((SCRAM_SHA_256_PLUS.encode(), SCRAM_SHA_256.encode())).to_bytes())
        else:
            self._write(AuthenticationCleartextPassword().to_bytes())

    def _let_in(self) -> None:
        self._in = True
        self._fake.logins += 1
        key = backend.BackendKeyData(self._fake.logins, b"key!").to_bytes()
        self._write(backend.AUTHENTICATION_OK + backend.parameter_status("server_version", "18.0") + key)
        self._ready()

    def _password(self, frame: bytes) -> None:
        password, is_right = self._fake.passwords[self._user], False
        if self._fake.method == "scram":
            is_right = self._scram_step(frame, password)
            if self._scram_asks:
                return
        else:
            given = frontend.PasswordMessage.from_bytes(frame).password
            by_md5 = self._fake.method == "md5"
            is_right = given == (md5_password(self._user, password, _MD5_SALT) if by_md5 else password.encode())
        if is_right:
            self._let_in()
            return
        self._write(error("28P01", f'password authentication failed for user "{self._user}"', "FATAL"))
        self._hang_up()

    def _scram_step(self, frame: bytes, password: str) -> bool:
        """One step of the exchange; whether it was the last one, and right."""
        self._scram_asks = self._scram is None
        if self._scram is None:
            salt = self._fake.salts.get(self._user, self._user.encode())
            self._scram = ScramServer(parse_verifier(verifier(password, salt)), lambda: b"nonce of the server")
            first = self._scram.first(frontend.SASLInitialResponse.from_bytes(frame).data or b"")
            self._write(AuthenticationSASLContinue(first).to_bytes())
            return False
        final = self._scram.final(frontend.SASLResponse.from_bytes(frame).data)
        if final is not None:
            self._write(AuthenticationSASLFinal(final).to_bytes())
        return final is not None

    # Queries.

    def _ready(self) -> None:
        self._write(backend.ready_for_query(self._status))

    def _message(self, tag: str, frame: bytes) -> None:
        if tag == "X":
            self._hang_up()
        elif tag == "p" and not self._in:
            self._password(frame)
        elif tag == "S":
            self._skipping = False
            self._ready()
        elif self._skipping:
            return
        elif tag == "Q":
            self._say(self._run(frontend.Query.from_bytes(frame).sql.decode()))
            self._skipping = False
            self._ready()
        else:
            self._extended(tag, frame)

    def _extended(self, tag: str, frame: bytes) -> None:
        if tag == "P":
            parse = frontend.Parse.from_bytes(frame)
            self._statements[parse.name] = parse.sql.decode()
            self._write(backend.PARSE_COMPLETE)
        elif tag == "B":
            self._bind(frontend.Bind.from_bytes(frame))
        elif tag == "D":
            self._describe(*names.describe_target(frame))
        elif tag == "E":
            reply = self._run(self._portals[names.execute_target(frame)[0]])
            self._say(b"".join(reply[start:end] for kind, start, end in split(reply) if kind != ord("T")))
        elif tag == "C":
            self._write(backend.CLOSE_COMPLETE)

    def _bind(self, bind: frontend.Bind) -> None:
        sql = self._statements.get(bind.statement)
        if sql is None:
            self._status = b"I" if self._status == b"I" else b"E"
            self._say(error("26000", f'prepared statement "{bind.statement.decode()}" does not exist'))
            return
        self._portals[bind.portal] = sql
        self._write(backend.BIND_COMPLETE)

    def _describe(self, kind: int, name: bytes) -> None:
        sql = (self._portals if kind == frontend.PORTAL else self._statements)[name]
        told = self._fake.answers.get(sql.strip(), b"")
        reply = told(sql) if callable(told) else told
        columns = [reply[start:end] for kind, start, end in split(reply) if kind == ord("T")]
        parameters = backend.ParameterDescription(()).to_bytes() if kind != frontend.PORTAL else b""
        self._write(parameters + (columns[0] if columns else backend.NO_DATA))

    def _run(self, sql: str) -> bytes:
        reply = self._fake.reply(sql)
        failed = any(kind == ord("E") for kind, _, _ in split(reply))
        if failed and self._status == b"T":
            self._status = b"E"
        if not failed:
            self._status = _STATUS_AFTER.get(_first_word(sql), self._status)
        return reply

    def _say(self, reply: bytes) -> None:
        self._skipping = any(kind == ord("E") for kind, _, _ in split(reply))
        self._write(reply)
