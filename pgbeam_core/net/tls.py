"""TLS towards servers, with libpq's sslmodes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgbeam_core.api.query import Target
from pgbeam_core.errors import ServerUnavailable, SettingsError
from pgbeam_core.net.certificates import ALPN, load_pair, load_revoked, load_roots

USER_ROOT = Path("~/.postgresql/root.crt")
_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_MOST_PREPARED = 1_000
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir")


def ways(target: Target) -> tuple[bool, ...]:
    """Whether to encrypt, in the order in which it is tried. A socket in the file system needs no TLS."""
    if target.sslmode == "disable" or target.host.startswith("/"):
        return (False,)
    return {"allow": (False, True), "prefer": (True, False)}.get(target.sslmode, (True,))


@dataclass
class ServerTls:
    """What connections to one target have in common. Kept until a file changes."""

    context: ssl.SSLContext
    latest: Any = None
    """The connection that was made last: the next one may resume its session."""

    @property
    def session(self) -> ssl.SSLSession | None:
        """One that the server may take up again."""
        found: ssl.SSLSession | None = None if self.latest is None else self.latest.session
        return found if found is not None and (found.has_ticket or found.id) else None


_prepared: dict[tuple[object, ...], ServerTls] = {}


def prepared(target: Target) -> ServerTls:
    """The context for a target, with the files as they are now. Raises ServerUnavailable if one cannot be read."""
    files = {name: getattr(target, name) for name in _FILES}
    if files["sslrootcert"] is None and USER_ROOT.expanduser().exists():
        files["sslrootcert"] = str(USER_ROOT.expanduser())
    kind = (target.host, target.port, target.sslmode, target.ssl_min_protocol_version)
    key = (*kind, *files.values(), *map(_stamp, files.values()))
    found = _prepared.get(key)
    if found is None:
        if len(_prepared) >= _MOST_PREPARED:
            _prepared.clear()
        try:
            found = _prepared[key] = ServerTls(_context(target, files))
        except SettingsError as error:
            raise ServerUnavailable(f"could not prepare TLS: {error.message}") from error
    return found


def _stamp(name: str | None) -> tuple[int, int] | None:
    if name is None or name == "system":
        return None
    try:
        found = Path(name).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _context(target: Target, files: dict[str, str | None]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = _VERSIONS[target.ssl_min_protocol_version]
    made.set_alpn_protocols([ALPN])
    # As libpq: a file of roots that was named is believed, also where nobody asked for that.
    verify = target.sslmode in ("verify-ca", "verify-full") or (
        target.sslmode == "require" and target.sslrootcert is not None
    )
    made.check_hostname = target.sslmode == "verify-full"
    made.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    root = files["sslrootcert"]
    if verify and root in (None, "system"):
        made.load_default_certs()
    elif verify and root is not None:
        load_roots(made, "sslrootcert", root)
    for name, folder in (("sslcrl", False), ("sslcrldir", True)):
        path = files[name]
        if verify and path is not None:
            load_revoked(made, name, path, folder=folder)
    if files["sslcert"] is not None and files["sslkey"] is not None:
        load_pair(made, ("sslcert", files["sslcert"]), ("sslkey", files["sslkey"]))
    return made
