"""TLS between a socket and the protocol above it, the same on every reactor and for both sides.

`Encrypted` looks like a transport of an asyncio loop, as far as `streams.Stream` uses one, and stands on another.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Any

from pgbeam_core.net.throttle import Throttle

_RECORD = 16 * 1024
"""The most that a record of TLS holds."""
MOST_UNSHAKEN = 256 * 1024
"""Bytes of one side's handshake. A chain of certificates takes some thousand."""


class Encrypted:
    """One connection's TLS. `lower` is the transport below; `received` takes what arrives from it.

    opened: told once that the handshake is done. failed: told instead what went wrong; the connection is closed then.
    deliver: gets what the other side says.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        throttle: Throttle,
        *,
        opened: Callable[[], None],
        failed: Callable[[Exception], None],
        deliver: Callable[[bytes], None],
        server_side: bool,
        hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.lower: Any = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls: Any = context.wrap_bio(self._incoming, self._outgoing, server_side, hostname, session)
        self._throttle = throttle
        self._opened = opened
        self._failed = failed
        self._deliver = deliver
        self._is_open = False
        self._over = False
        self._queued = False
        self._unshaken = 0

    def begin(self) -> None:
        """Take a step of the handshake, when it is its turn."""
        if not self._queued:
            self._queued = True
            self._throttle.do(self._shake)

    def received(self, data: bytes) -> None:
        """Take bytes from the socket, whole records or not."""
        if self._over:
            return
        self._incoming.write(data)
        if self._is_open:
            self._read()
            return
        self._unshaken += len(data)
        if self._unshaken > MOST_UNSHAKEN:
            self._fail(ssl.SSLError("the handshake is too long"))
        else:
            self.begin()

    def _shake(self) -> None:
        self._queued = False
        if self._over:
            return
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return
        except Exception as error:  # what a callback of the context raises comes out here too
            self._send()
            self._fail(error)
            return
        self._send()
        self._is_open = True
        self._opened()
        if not self._over and self._incoming.pending:
            self._read()

    def _read(self) -> None:
        """Deliver all that is whole, in one piece."""
        tls, incoming = self.tls, self._incoming
        pieces: list[bytes] = []
        ended = False
        try:
            while not ended:
                piece: bytes = tls.read(_RECORD)
                if piece:
                    pieces.append(piece)
                    if not incoming.pending and not tls.pending():
                        break
                else:
                    ended = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLError, ValueError):
            ended = True
        if self._outgoing.pending:
            self._send()
        if pieces:
            self._deliver(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended and not self._over:  # the other side has closed, or what it sends is no TLS
            self.close()

    def write(self, data: bytes) -> None:
        """Encrypt it, and send it at once. Before the handshake is done it goes nowhere."""
        if self._over or not self._is_open:
            return
        try:
            self._encrypt(data)
        except (ssl.SSLError, ValueError):
            self.abort()
            return
        self.lower.write(self._outgoing.read())

    def writelines(self, pieces: list[bytes]) -> None:
        """As `write`, for several at once."""
        self.write(b"".join(pieces))

    def _encrypt(self, data: bytes) -> None:
        tls, size = self.tls, len(data)
        sent: int = tls.write(data)
        if sent < size:
            with memoryview(data) as view:
                while sent < size:
                    sent += tls.write(view[sent : sent + _RECORD])

    def _send(self) -> None:
        data = self._outgoing.read()
        if data:
            self.lower.write(data)

    def close(self) -> None:
        """Say goodbye, and close when all is written."""
        if not self._over:
            self._over = True
            if self._is_open:
                with contextlib.suppress(ssl.SSLError, ValueError):
                    self.tls.unwrap()  # it would wait for the other side's goodbye, which nobody needs
                self._send()
        self.lower.close()

    def abort(self) -> None:
        self._over = True
        self.lower.abort()

    def forget(self) -> None:
        """The connection is lost: nobody is to wait for a collector of garbage."""
        self._over = True
        self._opened = _nothing
        self._failed = self._deliver = _ignore

    def _fail(self, error: Exception) -> None:
        self._over = True
        self.lower.close()
        self._failed(error)

    def pause_reading(self) -> None:
        self.lower.pause_reading()

    def resume_reading(self) -> None:
        self.lower.resume_reading()

    def is_closing(self) -> bool:
        """As an asyncio transport has it."""
        return bool(self.lower.is_closing())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As an asyncio transport has it."""
        return self.lower.get_extra_info(name, default)


def _nothing() -> None:
    """In place of those who listened: they are gone."""


def _ignore(_: object) -> None:
    """As `_nothing`, for what is told something."""


def described(tls: Any) -> str:
    """A connection's version and cipher: `TLSv1.3/TLS_AES_256_GCM_SHA384`."""
    cipher = tls.cipher()
    return f"{tls.version()}/{cipher[0] if cipher else '?'}"
