"""TLS towards servers, with libpq's sslmodes."""

from __future__ import annotations

import ssl
from pathlib import Path

from pgbeam_core.api.query import Target
from pgbeam_core.errors import ServerUnavailable

USER_ROOT = Path("~/.postgresql/root.crt")


def wanted(target: Target) -> bool:
    """Whether to ask the server for TLS at all. A socket in the file system needs none."""
    return target.sslmode not in ("disable", "allow") and not target.host.startswith("/")


def required(target: Target) -> bool:
    """Whether a server without TLS will not do."""
    return target.sslmode in ("require", "verify-ca", "verify-full")


def context(target: Target) -> ssl.SSLContext:
    """The context for one connection to a target. Raises ServerUnavailable if a certificate file cannot be read."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["postgresql"])
    verify = target.sslmode in ("verify-ca", "verify-full")
    made.check_hostname = target.sslmode == "verify-full"
    made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify:
        _load_roots(made, target)
    return made


def _load_roots(made: ssl.SSLContext, target: Target) -> None:
    """sslrootcert, else libpq's own file if it is there, else what the system trusts."""
    root = target.sslrootcert or (str(USER_ROOT.expanduser()) if USER_ROOT.expanduser().exists() else "system")
    if root == "system":
        made.load_default_certs()
        return
    try:
        made.load_verify_locations(root)
    except (OSError, ssl.SSLError) as error:
        raise ServerUnavailable(f'could not read root certificate file "{root}": {error}') from error
