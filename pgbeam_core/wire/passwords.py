"""How PostgreSQL prepares and hashes passwords: SASLprep and md5."""

from __future__ import annotations

import hashlib
import stringprep
import unicodedata

from pgbeam_core.wire.message import raw

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def saslprep(password: str | bytes) -> bytes:
    """The password as SCRAM hashes it. One that SASLprep does not allow, or that is not UTF-8, stays as it is."""
    given = raw(password) if isinstance(password, str) else password
    if given.isascii():
        return given
    try:
        prepared = _prepared(given.decode())
    except UnicodeDecodeError:
        prepared = None
    return given if prepared is None else prepared.encode()


def _prepared(password: str) -> str | None:
    mapped = "".join(_mapped(char) for char in password)
    # RFC 4013 checks what normalisation gave; PostgreSQL checks what went in, and both ends must agree.
    if not mapped or any(table(char) for char in mapped for table in _PROHIBITED):
        return None
    if any(map(stringprep.in_table_d1, mapped)) and not _goes_right_to_left(mapped):
        return None
    return unicodedata.normalize("NFKC", mapped)


def _mapped(char: str) -> str:
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _goes_right_to_left(password: str) -> bool:
    ends = stringprep.in_table_d1(password[0]) and stringprep.in_table_d1(password[-1])
    return ends and not any(map(stringprep.in_table_d2, password))


def md5_password(user: str, password: str | bytes, salt: bytes) -> bytes:
    """The answer to AuthenticationMD5Password: `md5` and 32 hex digits."""
    secret = raw(password) if isinstance(password, str) else password
    return b"md5" + _md5(_md5(secret + raw(user)) + salt)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
