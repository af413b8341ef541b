"""The Authentication messages: all have type R, and a code that says which one it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.message import INT32, Fields, Message, cstring, fields_of
from pgbeam_core.wire.tags import Auth, Backend


class Authentication(Message):
    """Base of what a server says while a client logs in."""

    __slots__ = ()
    TAG: ClassVar[int] = Backend.AUTHENTICATION
    CODE: ClassVar[Auth]

    def data_bytes(self) -> bytes:
        """What follows the code; nothing unless the message has fields."""
        return b""

    @classmethod
    def read_data(cls, fields: Fields) -> Self:
        """Read what follows the code."""
        return cls()

    def body(self) -> bytes:
        return INT32.pack(self.CODE) + self.data_bytes()

    @classmethod
    def read(cls, fields: Fields) -> Self:
        code = fields.int32()
        if code != cls.CODE:
            raise ProtocolViolation(f"expected authentication request {int(cls.CODE)}, got {code}")
        return cls.read_data(fields)


@dataclass(slots=True, frozen=True)
class AuthenticationOk(Authentication):
    """The client has proven itself; parameters and ReadyForQuery follow."""

    CODE: ClassVar[Auth] = Auth.OK


@dataclass(slots=True, frozen=True)
class AuthenticationKerberosV5(Authentication):
    """No supported server sends it."""

    CODE: ClassVar[Auth] = Auth.KERBEROS_V5


@dataclass(slots=True, frozen=True)
class AuthenticationCleartextPassword(Authentication):
    """The client is to send its password as it is."""

    CODE: ClassVar[Auth] = Auth.CLEARTEXT_PASSWORD


@dataclass(slots=True, frozen=True)
class AuthenticationMD5Password(Authentication):
    """The password hashed with md5 and this salt of four bytes."""

    CODE: ClassVar[Auth] = Auth.MD5_PASSWORD
    salt: bytes

    def data_bytes(self) -> bytes:
        return self.salt

    @classmethod
    def read_data(cls, fields: Fields) -> Self:
        return cls(fields.take(4))


@dataclass(slots=True, frozen=True)
class AuthenticationGSS(Authentication):
    """The client is to begin a GSSAPI exchange."""

    CODE: ClassVar[Auth] = Auth.GSS


@dataclass(slots=True, frozen=True)
class AuthenticationSSPI(Authentication):
    """The client is to begin an SSPI exchange."""

    CODE: ClassVar[Auth] = Auth.SSPI


@dataclass(slots=True, frozen=True)
class _WithData(Authentication):
    data: bytes

    def data_bytes(self) -> bytes:
        return self.data

    @classmethod
    def read_data(cls, fields: Fields) -> Self:
        return cls(fields.rest())


@dataclass(slots=True, frozen=True)
class AuthenticationGSSContinue(_WithData):
    """Further data of a GSSAPI or SSPI exchange."""

    CODE: ClassVar[Auth] = Auth.GSS_CONTINUE


@dataclass(slots=True, frozen=True)
class AuthenticationSASL(Authentication):
    """Start a SASL exchange with one of these mechanisms, the server's favourite first."""

    CODE: ClassVar[Auth] = Auth.SASL
    mechanisms: tuple[bytes, ...]

    def data_bytes(self) -> bytes:
        return b"".join(cstring(name) for name in self.mechanisms) + b"\0"

    @classmethod
    def read_data(cls, fields: Fields) -> Self:
        names: list[bytes] = []
        while name := fields.string():
            names.append(name)
        return cls(tuple(names))


@dataclass(slots=True, frozen=True)
class AuthenticationSASLContinue(_WithData):
    """A challenge of a SASL exchange."""

    CODE: ClassVar[Auth] = Auth.SASL_CONTINUE


@dataclass(slots=True, frozen=True)
class AuthenticationSASLFinal(_WithData):
    """The server's proof that ends a SASL exchange; AuthenticationOk follows."""

    CODE: ClassVar[Auth] = Auth.SASL_FINAL


def auth_code(frame: bytes) -> Auth:
    """Which Authentication message a frame is. Raise ProtocolViolation when it is none that is known."""
    code = fields_of(Backend.AUTHENTICATION, frame).int32()
    try:
        return Auth(code)
    except ValueError:
        raise ProtocolViolation(f"authentication method {code} not supported") from None
