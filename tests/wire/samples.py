"""One or more of every message, and how to read the recorded conversations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pgbeam_core.wire import authentication as auth
from pgbeam_core.wire import backend, copy_messages, frontend, startup
from pgbeam_core.wire.message import Message
from pgbeam_core.wire.tags import Auth

GOLDEN = Path(__file__).parent / "golden"

FRONTEND: list[Message] = [
    frontend.Query(b"SELECT 'h\xc3\xa9 \xff'"),
    frontend.Parse(b"", b"SELECT 1"),
    frontend.Parse(b"s1", b"SELECT $1, $2", (23, 4294967295)),
    frontend.Bind(b"", b""),
    frontend.Bind(b"p", b"s", (b"1", None, b""), (0, 1, 0), (1,)),
    frontend.Describe(frontend.STATEMENT, b"s"),
    frontend.Close(frontend.PORTAL, b""),
    frontend.Execute(b"p", 10),
    frontend.Execute(b"", -1),
    frontend.Sync(),
    frontend.Flush(),
    frontend.FunctionCall(1598, (b"x", None), (1,), 1),
    copy_messages.CopyData(b"\0\1\2"),
    copy_messages.CopyDone(),
    copy_messages.CopyFail(b"no more"),
    frontend.PasswordMessage(b"sesame"),
    frontend.SASLInitialResponse(b"SCRAM-SHA-256", b"n,,n=,r=x"),
    frontend.SASLInitialResponse(b"SCRAM-SHA-256", None),
    frontend.SASLInitialResponse(b"SCRAM-SHA-256", b""),
    frontend.SASLResponse(b"c=biws"),
    frontend.GSSResponse(b"\0"),
    frontend.Terminate(),
]
COLUMN = backend.Column(b"id", 16384, 1, 23, 4, -1, 0)
BACKEND: list[Message] = [
    auth.AuthenticationOk(),
    auth.AuthenticationKerberosV5(),
    auth.AuthenticationCleartextPassword(),
    auth.AuthenticationMD5Password(b"salt"),
    auth.AuthenticationGSS(),
    auth.AuthenticationGSSContinue(b"\0\1"),
    auth.AuthenticationSSPI(),
    auth.AuthenticationSASL((b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-256")),
    auth.AuthenticationSASLContinue(b"r=x"),
    auth.AuthenticationSASLFinal(b"v=x"),
    backend.BackendKeyData(-1, b"four"),
    backend.BackendKeyData(4711, bytes(256)),
    backend.BindComplete(),
    backend.CloseComplete(),
    backend.CommandComplete("SELECT 1"),
    copy_messages.CopyData(b"1\t\\N\n"),
    copy_messages.CopyDone(),
    copy_messages.CopyInResponse(0, (0, 0)),
    copy_messages.CopyOutResponse(1, (1,)),
    copy_messages.CopyBothResponse(0, ()),
    backend.DataRow(()),
    backend.DataRow((b"1", None, b"")),
    backend.EmptyQueryResponse(),
    backend.ErrorResponse({"S": "FEHLER", "V": "ERROR", "C": "42P01", "M": "h\u00e9 \udcff"}),
    backend.NoticeResponse({"S": "NOTICE", "M": "hello"}),
    backend.FunctionCallResponse(None),
    backend.FunctionCallResponse(b""),
    backend.NegotiateProtocolVersion(3 << 16 | 2, ("_pq_.a", "_pq_.b")),
    backend.NoData(),
    backend.NotificationResponse(7, b"bell", b"ding"),
    backend.ParameterDescription((23, 4294967295)),
    backend.ParameterStatus("TimeZone", "Europe/Zürich \udcff"),
    backend.ParseComplete(),
    backend.PortalSuspended(),
    backend.ReadyForQuery(b"T"),
    backend.RowDescription((COLUMN, COLUMN._replace(name=b"\xff"))),
]
PACKETS: list[startup.Packet] = [
    startup.StartupMessage(3, 0, {"user": "ann"}),
    startup.StartupMessage(3, 2, {"user": "\udcffé", "options": "", "_pq_.x": "1"}),
    startup.SSLRequest(),
    startup.GSSENCRequest(),
    startup.CancelRequest(-5, b"four"),
    startup.CancelRequest(4711, bytes(256)),
]
BY_TAG = {message.TAG: type(message) for message in BACKEND if not isinstance(message, auth.Authentication)}
BY_AUTH = {message.CODE: type(message) for message in BACKEND if isinstance(message, auth.Authentication)}
FRONTEND_BY_TAG = {message.TAG: type(message) for message in FRONTEND}


def decode_backend(frame: bytes) -> Message:
    """Any message of a server."""
    if frame[:1] == b"R":
        return BY_AUTH[Auth(auth.auth_code(frame))].from_bytes(frame)
    return BY_TAG[frame[0]].from_bytes(frame)


def recorded(pattern: str) -> list[str]:
    """Names of recorded files, without their folder."""
    return sorted(path.name for path in GOLDEN.glob(pattern))


def read(name: str) -> bytes:
    """The bytes of a recorded file."""
    return (GOLDEN / name).read_bytes()


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    """Pieces of at most `size` bytes."""
    return (data[at : at + size] for at in range(0, len(data), size))
