"""What can go wrong, each with the SQLSTATE that a client is told."""

from __future__ import annotations

from collections.abc import Sequence


class PgBeamError(Exception):
    """Base of all errors that PgBeam raises on purpose; `sqlstate` is what a client would be told."""

    sqlstate = "XX000"

    def __init__(self, message: str, *, hint: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if sqlstate is not None:
            self.sqlstate = sqlstate


class ProtocolViolation(PgBeamError):
    """The peer broke the wire protocol; it is told why and the connection ends."""

    sqlstate = "08P01"


class AncientProtocol(ProtocolViolation):
    """A client speaks protocol 1 or 2, in which errors have another form."""

    sqlstate = "0A000"


class Unanswered(ProtocolViolation):
    """What PostgreSQL writes to its log only: it hangs up without a word."""


class NoUser(ProtocolViolation):
    """A startup packet without a user. `offer` is what the client is told of the protocol before that."""

    sqlstate = "28000"

    def __init__(self, offer: bytes) -> None:
        super().__init__("no PostgreSQL user name specified in startup packet")
        self.offer = offer


class SettingsError(PgBeamError):
    """A setting is unknown, of the wrong type or out of range. The message names file, key and value.

    Of several it has a line for each; `each` has them one by one.
    """

    sqlstate = "F0000"
    several: tuple[SettingsError, ...] = ()

    @classmethod
    def of(cls, errors: Sequence[SettingsError]) -> SettingsError:
        """One that stands for all of these, of which there is at least one."""
        if len(errors) == 1:
            return errors[0]
        found = cls("\n".join(error.message for error in errors))
        found.several = tuple(errors)
        return found

    @property
    def each(self) -> tuple[SettingsError, ...]:
        """All that it stands for."""
        return self.several or (self,)


class PluginError(PgBeamError):
    """A plugin cannot be loaded or breaks the hook contract. The message names it."""

    sqlstate = "F0000"


class ServerUnavailable(PgBeamError):
    """No server of the target can be reached, or the one in use was lost."""

    sqlstate = "08006"


class ServerProtocolError(ServerUnavailable):
    """A server was reached and said what it may not in a login, or too much: perhaps on account of one role."""


class PasswordNeeded(ServerUnavailable):
    """The server asks for a password that PgBeam does not have. The target itself is well."""


class IdentityChanged(PasswordNeeded):
    """The names that a client logged in with stand for another role or database now: only a new login would do."""

    sqlstate = "28000"


class ServerRefused(PgBeamError):
    """The server answered a login with an ErrorResponse; `frame` is that message as the server sent it."""

    def __init__(self, message: str, frame: bytes, *, sqlstate: str) -> None:
        super().__init__(message, sqlstate=sqlstate)
        self.frame = frame


class PoolExhausted(PgBeamError):
    """No server came free within `wait_timeout_s`."""

    sqlstate = "53300"
