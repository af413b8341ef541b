"""What PgBeam shows clients that come by TLS, and whom it believes: the files of `[tls]`."""

from __future__ import annotations

import ssl
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pgbeam_core.errors import PgBeamError, SettingsError

if TYPE_CHECKING:
    from pgbeam_core.settings import Tls

ALPN = "postgresql"
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class ClientTls:
    """Made of the files as they were when it was made."""

    context: ssl.SSLContext
    required: bool
    certificate: bytes = field(repr=False)
    """PgBeam's own, as DER."""
    expires: datetime


def load(settings: Tls) -> ClientTls:
    """Read the files. Raises SettingsError for one that cannot be used, and says why."""
    leaf, expires = _read_certificate(settings.cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version]
    context.set_alpn_protocols([ALPN])
    # As in PostgreSQL: a ticket's key would have to be kept secret, shared by workers, and changed often.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    _load_own(context, settings)
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        load_roots(context, "tls.client_ca", settings.client_ca)
    if settings.client_crl is not None:
        load_revoked(context, "tls.client_crl", settings.client_crl)
    context.sni_callback = _asked_for
    _mute_odd_names()
    return ClientTls(context, settings.mode == "require", leaf, expires)


def expired(tls: ClientTls) -> str | None:
    """In words, if its certificate is of no use any more."""
    if tls.expires >= datetime.now(UTC):
        return None
    return f"the certificate expired on {tls.expires:%Y-%m-%d %H:%M} UTC"


def renewed(settings: Tls) -> ClientTls:
    """As `load`, for a PgBeam that has another certificate already: one that has expired will not do."""
    found = load(settings)
    why = expired(found)
    if why is not None:
        raise _error("tls.cert", settings.cert, why)
    return found


def check(settings: Tls | None) -> None:
    """Raises SettingsError for what `renewed` would not take."""
    if settings is not None:
        renewed(settings)


def load_roots(context: ssl.SSLContext, key: str, path: Path | str) -> None:
    """Whom to believe. Raises SettingsError."""
    try:
        context.load_verify_locations(path)
    except OSError as error:
        _wrong(key, path, error, "no certificates in PEM form are in it")


def load_revoked(context: ssl.SSLContext, key: str, path: Path | str, *, folder: bool = False) -> None:
    """Certificates that count no more; from then on every issuer must have such a list. Raises SettingsError."""
    try:
        context.load_verify_locations(None if folder else path, path if folder else None)
    except OSError as error:
        _wrong(key, path, error, "no revocation list in PEM form is in it")
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def load_pair(context: ssl.SSLContext, cert: tuple[str, Path | str], key: tuple[str, Path | str]) -> None:
    """A certificate with its private key, each with the name of its setting. Raises SettingsError."""
    for name, path in (cert, key):
        try:
            Path(path).read_bytes()
        except OSError as error:
            _wrong(name, path, error, "")
    try:
        context.load_cert_chain(cert[1], key[1], _no_passphrase)
    except _PassphraseNeeded:
        raise _error(*key, "the key is encrypted: PgBeam takes keys without a passphrase only") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _error(*key, f"the key does not belong to the certificate in {str(cert[1])!r}") from error
        if error.reason is not None and error.reason.endswith("TOO_SMALL"):
            raise _error(*cert, f"OpenSSL takes no key as weak as that: {error.reason}") from error
        raise _error(*key, f"no private key in PEM form is in it: {error.reason or error}") from error


def _load_own(context: ssl.SSLContext, settings: Tls) -> None:
    load_pair(context, ("tls.cert", settings.cert), ("tls.key", settings.key))


def _read_certificate(path: Path) -> tuple[bytes, datetime]:
    """The first one in the file, and how long it holds."""
    from cryptography import x509  # large: only where it is needed
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        first = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as error:
        _wrong("tls.cert", path, error, "")
    except ValueError as error:
        raise _error("tls.cert", path, "no certificate in PEM form is in it") from error
    begins = first.not_valid_before_utc
    if begins > datetime.now(UTC):
        raise _error("tls.cert", path, f"the certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC")
    return first.public_bytes(Encoding.DER), first.not_valid_after_utc


class _PassphraseNeeded(PgBeamError):
    pass


def _no_passphrase() -> NoReturn:
    """OpenSSL would ask on the terminal, and wait."""
    raise _PassphraseNeeded("a passphrase is needed")


def _wrong(key: str, path: Path | str, error: OSError, unusable: str) -> NoReturn:
    raise _error(key, path, error.strerror if not isinstance(error, ssl.SSLError) else unusable) from error


def _error(key: str, path: Path | str, reason: str | None) -> SettingsError:
    return SettingsError(f"{key} = {str(path)!r}: {reason}")


def _mute_odd_names() -> None:
    """Python tells stderr, with a traceback, of each host name that is not ASCII; the handshake fails, and says so."""
    before: Any = sys.unraisablehook
    if getattr(before, "mutes_odd_names", False):
        return

    def heard(what: Any) -> None:
        if not (what.exc_type is UnicodeDecodeError and isinstance(what.object, bytes)):
            before(what)

    heard.mutes_odd_names = True  # type: ignore[attr-defined]
    sys.unraisablehook = heard


def _asked_for(tls: Any, hostname: str | None, _context: ssl.SSLContext) -> None:
    """Remember the name that a client asks for, for whoever chooses the project."""
    tls.asked_for = hostname
