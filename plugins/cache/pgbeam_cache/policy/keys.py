"""Who may share a remembered reply with whom: the key, and the scope in it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

from pgbeam_core import Query, Session

NEUTRAL = frozenset(
    {
        "application_name",
        "statement_timeout",
        "lock_timeout",
        "transaction_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
    }
)
"""The only settings that are taken not to change a result. All others count, known or not."""

UNSAFE_ENCODINGS = frozenset({"big5", "gb18030", "gbk", "johab", "shiftjis2004", "sjis", "uhc"})
"""A byte of theirs may look like a letter, a quote or a backslash and be the half of something else."""

_ALIASES = {"shiftjis": "sjis", "mskanji": "sjis", "win932": "sjis", "windows932": "sjis"} | {
    "win936": "gbk",
    "windows936": "gbk",
    "win949": "uhc",
    "windows949": "uhc",
    "win950": "big5",
    "windows950": "big5",
}
_FALSE = frozenset({"off", "of", "false", "fals", "fal", "fa", "f", "no", "n", "0"})
LONGEST_BOUND = 64 * 1024
"""Bytes of a Bind message; longer ones are in no key, because to read them takes too long."""

_NO_TYPES = (b"", b"\x00\x00")
_NOTHING_BOUND = (b"\x00" * 6, b"\x00\x00\x00\x00\x00\x01\x00\x00")
"""No parameters and no result formats, or text for all columns."""


class Parts(NamedTuple):
    """What a key is made of."""

    scope: bytes
    text: bytes
    bound: bytes


def parts(scope: bytes, text: bytes, query: Query) -> Parts:
    """The parts of a key, to be compared one by one."""
    return Parts(scope, text, blake2b(_bound(query), digest_size=8).digest())


class KeyScope:
    """What one session's key is made of beside the query, for the settings it has at one moment."""

    __slots__ = ("_digests", "_of", "odd_encoding", "odd_strings", "settings")

    def __init__(self, session: Session) -> None:
        now = session.settings.now
        self.settings = now
        """The settings it holds for; they are never changed in place."""
        identity = session.identity
        effective = sorted((name, value) for name, value in now.items() if name not in NEUTRAL)
        project = session.project
        whose = (project.name, project.primary.address, *identity)
        self._of = repr((*whose, effective)).encode("utf-8", "surrogatepass")
        self._digests: dict[str, bytes] = {}
        encoding = _plain(_setting(session, now, "client_encoding"))
        self.odd_encoding = _ALIASES.get(encoding, encoding) in UNSAFE_ENCODINGS
        """Texts in its encoding cannot be taken apart byte by byte."""
        self.odd_strings = _setting(session, now, "standard_conforming_strings").strip().lower() in _FALSE
        """A backslash is an escape in its plain strings."""

    def describes(self, role: str) -> str:
        """What it is made of, in a form that two of them can be compared in."""
        return f"{role}\n{self._of.decode('utf-8', 'surrogatepass')}"

    def of(self, role: str) -> bytes:
        """32 bytes for reads from that role of server: readers of the primary get nothing that a replica gave."""
        found = self._digests.get(role)
        if found is None:
            found = self._digests[role] = blake2b(role.encode() + b"\x00" + self._of, digest_size=32).digest()
        return found


def _setting(session: Session, now: Mapping[str, str], name: str) -> str:
    """What a setting is: as the client has set it, else as the server told at login."""
    return now.get(name) or session.base.get(name) or session.parameter_status.get(name, "")


def _plain(encoding: str) -> str:
    """An encoding's name as PostgreSQL compares it: letters and digits only."""
    return "".join(letter for letter in encoding.lower() if letter.isalnum())


def key(scope: bytes, text: bytes, query: Query) -> bytes:
    """32 bytes that are equal only for requests that may share a reply."""
    return blake2b(scope + text + _bound(query), digest_size=32).digest()


def _bound(query: Query) -> bytes:
    """Parameters, their types and formats, the formats of the result, and how many rows are asked for at most.

    Nothing for what the simple protocol does.
    """
    if query.simple:
        return b""
    bound, limit = query.bound_bytes, query.max_rows
    if not limit and bound in _NOTHING_BOUND and query.types in _NO_TYPES:
        return b""
    # A length does not begin like that: no key with a limit reads like one without.
    behind = bound + query.types
    return (
        len(bound).to_bytes(8) + behind if not limit else b"\xff" + limit.to_bytes(4) + len(bound).to_bytes(8) + behind
    )
