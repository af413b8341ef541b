"""What is known of a client's connection before it says who it is."""

from __future__ import annotations

from dataclasses import dataclass, field

UNIX = "unix"
"""The address of clients that come by a socket in the file system."""


@dataclass(frozen=True)
class Channel:
    """One client's connection: where from, how protected. What it has that proves something was verified."""

    address: str
    """Where the client is, as it counts everywhere (behind a trusted proxy too), or `unix` for local sockets."""
    port: int = 0
    encrypted: bool = False
    tls: str | None = None
    """Version and cipher, `TLSv1.3/TLS_AES_256_GCM_SHA384`."""
    hostname: str | None = None
    """The host name that it asked for by SNI."""
    certificate: bytes | None = field(default=None, repr=False)
    """DER of its certificate, which was verified against `tls.client_ca`."""
    server_certificate: bytes | None = field(default=None, repr=False)
    """DER of the certificate that PgBeam showed it, for channel binding (tls-server-end-point)."""
    system_user: str | None = None
    """Over a socket in the file system, the user of this machine at its other end."""

    @property
    def is_local(self) -> bool:
        """It comes by a socket in the file system."""
        return self.address == UNIX
