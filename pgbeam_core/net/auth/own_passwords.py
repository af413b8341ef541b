"""What PgBeam logs in with as the user of an upstream URL: from the URL, a file, a program, or libpq's password file.

What a file or a program gives may be good for some time only. So it is asked again when a server has refused it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from pgbeam_core.api.query import Target
from pgbeam_core.errors import PasswordNeeded
from pgbeam_core.net.auth.pgpass import password_file, password_from
from pgbeam_core.settings import Project
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.secrets import Password

log = Logger(__name__)

AGAIN_AFTER_S = 5.0
"""A password is not fetched more often than this, whatever servers say."""
COMMAND_S = 10.0
"""A program that takes longer is killed."""
MOST_BYTES = 64 * 1024

Fetch = Callable[[], "Password | None"]


class OwnPassword:
    """One password that may change. `fetch` gives it; where that may take `slow` long, beside the loop.

    is_set: the settings speak of it.
    """

    def __init__(self, fetch: Fetch, now: Callable[[], float], *, slow: bool = False, is_set: bool = True) -> None:
        self.is_set = is_set
        self._fetch = fetch
        self._now = now
        self._slow = slow
        self._value: Password | None = None
        self._fetched_at: float | None = None
        self._waiting: list[Deferred[Password | None]] | None = None

    def get(self) -> Password | Deferred[Password | None] | None:
        """What to log in with. Fails with PasswordNeeded."""
        if self._fetched_at is not None and (self._slow or self._now() - self._fetched_at < AGAIN_AFTER_S):
            return self._value
        return self._again()

    def renewed(self, used: object) -> Deferred[bool]:
        """A server has refused that one: is there another by now?"""
        if self._value is not None and self._value != used:
            return succeed(True)
        if self._fetched_at is not None and self._now() - self._fetched_at < AGAIN_AFTER_S:
            return succeed(False)
        fetched = self._again()
        waited = fetched if isinstance(fetched, Deferred) else succeed(fetched)
        return waited.addCallbacks(lambda value: value is not None and value != used, lambda _: False)

    def _again(self) -> Password | Deferred[Password | None] | None:
        if not self._slow:
            self._fetched_at = self._now()
            self._value = self._fetch()
            return self._value
        mine: Deferred[Password | None] = Deferred(lambda _: None)
        if self._waiting is None:
            self._waiting = [mine]
            deferToThread(self._fetch).addCallbacks(self._fetched, self._failed)
        else:
            self._waiting.append(mine)
        return mine

    def _fetched(self, value: Password | None) -> None:
        self._value, self._fetched_at = value, self._now()
        self._tell(value)

    def _failed(self, failure: Failure) -> None:
        self._fetched_at = None if self._value is None else self._now()
        self._tell(failure)

    def _tell(self, result: Any) -> None:
        waiting, self._waiting = self._waiting or [], None
        for one in waiting:
            if not one.called:
                one.callback(result) if not isinstance(result, Failure) else one.errback(result)


def own_password(project: Project, target: Target, now: Callable[[], float]) -> OwnPassword | None:
    """For the user that the URL of a target names; None if there is none."""
    user = target.user or project.primary.user
    if user is None:
        return None
    logins, text = project.logins, project.passwords.get(target)
    if text is not None:
        return OwnPassword(lambda: Password(raw(text)), now)
    if logins.password_file is not None:
        path = logins.password_file
        return OwnPassword(lambda: _from_file(path), now)
    if logins.password_command:
        words = logins.password_command
        command = (words,) if isinstance(words, str) else words
        return OwnPassword(lambda: _from_command(command), now, slow=True)
    database = target.database or project.primary.database or user
    return OwnPassword(lambda: _from_pgpass(target, database, user), now, is_set=False)


def _from_file(path: Path) -> Password:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES)
    except OSError as error:
        log.error("password_file {path} cannot be read: {why}", path=str(path), why=error.strerror)
        raise PasswordNeeded("password_file cannot be read", hint="See PgBeam's log.") from error
    return _one(data, "password_file")


def _from_command(command: tuple[str, ...]) -> Password:
    """Run it. What it prints on stderr is for the log of whoever starts PgBeam, and is not repeated."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=False)
    except subprocess.TimeoutExpired:
        why = f"takes longer than {COMMAND_S:.0f} s"
    except OSError as error:
        why = f"cannot be run: {error.strerror}"
    else:
        if not done.returncode:
            return _one(done.stdout[:MOST_BYTES], "password_command")
        why = f"has ended with {done.returncode}"
    log.error("password_command {why}", why=why)
    raise PasswordNeeded(f"password_command {why}", hint="See PgBeam's log.")


def _one(data: bytes, key: str) -> Password:
    text = data.rstrip(b"\r\n")
    if not text or b"\n" in text or b"\0" in text:
        log.error("{key} gives no password: one line is wanted", key=key)
        raise PasswordNeeded(f"{key} gives no password")
    return Password(text)


def _from_pgpass(target: Target, database: str, user: str) -> Password | None:
    for place in target.places:  # of several hosts they are copies, and have the same users
        found = password_from(password_file(), place.host, place.port, database, user)
        if found is not None:
            return Password(raw(found))
    return None
