"""What a client's certificate calls its owner."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID

_MOST_NAMES = 100


def names_of(certificate: bytes) -> list[str]:
    """The common name of its subject, then the DNS names and e-mail addresses among its alternative names.

    A name with a NUL in it is none: whoever reads it in C sees another one.
    """
    try:
        read = x509.load_der_x509_certificate(certificate)
        common = [str(found.value) for found in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except ValueError:
        return []
    # With several common names PostgreSQL takes the last, others the first: none is to be trusted.
    names = common if len(common) == 1 else []
    try:
        others = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names += others.get_values_for_type(x509.DNSName) + others.get_values_for_type(x509.RFC822Name)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        pass
    return [name for name in names[:_MOST_NAMES] if name and "\0" not in name]
