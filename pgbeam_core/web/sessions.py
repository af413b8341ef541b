"""Who has logged in with a password, for as long as that holds."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SESSION_S = 8 * 3600.0
"""From a login to the next one."""
BASIC_S = 60.0
"""So long a name and password that came with a request are not checked again."""
MOST = 1_000
"""Sessions; the oldest one makes room."""


@dataclass(frozen=True, slots=True)
class WebSession:
    """A user of PostgreSQL, until the reactor's time `ends`."""

    user: str
    ends: float


class Sessions:
    """By digests: neither a token nor a password is kept."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, WebSession] = OrderedDict()

    def make(self, user: str) -> str:
        """A new session of that user; gives its token."""
        token = secrets.token_urlsafe(32)
        self.keep(token, user, SESSION_S)
        return token

    def keep(self, secret: str, user: str, seconds: float) -> None:
        """Whoever comes with that is the user, for so long."""
        while len(self._known) >= MOST:
            self._known.popitem(last=False)
        self._known[self.digest(secret)] = WebSession(user, self._now() + seconds)

    def of(self, secret: str) -> str | None:
        """The user who comes with that, as long as that holds."""
        digest = self.digest(secret)
        found = self._known.get(digest)
        if found is not None and found.ends <= self._now():
            del self._known[digest]
            return None
        return None if found is None else found.user

    def end(self, secret: str) -> bool:
        """It holds no more. Whether it did."""
        return self._known.pop(self.digest(secret), None) is not None

    def digest(self, secret: str) -> bytes:
        """What stands for a secret, of no use to who reads it in memory or measures how long a look-up takes."""
        return hmac.digest(self._key, secret.encode("utf-8", "replace"), hashlib.sha256)
