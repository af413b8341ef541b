"""What clients are checked against, and what that tells whoever knocks."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pgbeam_core.net.auth.kept import NAME, kept_secret
from pgbeam_core.net.auth.secrets import Secrets
from pgbeam_core.settings import Project
from pgbeam_core.settings.userlist import read_userlist
from pgbeam_core.testing import Rehearsal
from pgbeam_core.wire.scram import Verifier, verifier
from pgbeam_core.wire.secrets import Password

PASSWORDS = {"ann": "sesame", "bob": "open"}


class Hashing:
    """Counts how often a password is hashed the slow way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        slow: Callable[..., bytes] = hashlib.pbkdf2_hmac

        def counted(*arguments: Any, **more: Any) -> bytes:
            self.count += 1
            return slow(*arguments, **more)

        monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)


def project(**how: Any) -> Project:
    """One that checks clients itself."""
    with Rehearsal({}, project={"auth": "scram", **how}) as rehearsal:
        return next(iter(rehearsal.beam.settings.projects.values()))


def secrets_of() -> Secrets:
    """Of nobody yet."""
    return Secrets(lambda _: pytest.fail("no server is needed"), os.urandom, Clock(), lambda *_: None)


def shown(secrets: Secrets, of: Project, user: str) -> Verifier:
    """What a client that says it is that user is checked against."""
    found = secrets.lookup(of, user)
    assert not isinstance(found, Deferred)
    return secrets.verifier(of, user, found)  # type: ignore[arg-type]


def test_a_password_in_the_settings_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login costs no milliseconds because somebody wrote a password where a SCRAM secret would do."""
    of, hashing, secrets = project(users=PASSWORDS), Hashing(monkeypatch), secrets_of()
    for _ in range(5):
        shown(secrets, of, "ann")
    assert hashing.count == 1
    secrets.project_changed(of.name)
    shown(secrets, of, "ann")
    assert hashing.count == 2


def test_nobody_learns_by_the_time_who_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first login of a user that there is not takes as much work as one of a user with a password in the list."""
    of, hashing, secrets = project(users=PASSWORDS), Hashing(monkeypatch), secrets_of()
    counts = []
    for user in ("ann", "nobody", "ann", "nobody", "bob", "somebody"):
        before = hashing.count
        shown(secrets, of, user)
        counts.append(hashing.count - before)
    assert counts == [1, 1, 0, 0, 1, 1]


def test_where_only_scram_secrets_are_listed_nothing_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knocks with made-up names costs nothing there."""
    listed = {"ann": verifier("sesame", b"salt of ann 1234")}
    of, hashing, secrets = project(users=listed), Hashing(monkeypatch), secrets_of()
    shown(secrets, of, "ann")
    shown(secrets, of, "nobody")
    assert hashing.count == 0


def test_salts_tell_nothing_after_a_reload() -> None:
    """Those of users with a password and those of users that there are not change, or stay, together."""
    of, secrets = project(users=PASSWORDS), secrets_of()
    before = [shown(secrets, of, user).salt for user in ("ann", "nobody")]
    secrets.project_changed(of.name)
    assert [shown(secrets, of, user).salt for user in ("ann", "nobody")] == before
    assert {len(salt) for salt in before} == {16}


def test_passwords_of_a_file_count_as_those_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A userlist.txt with passwords tells as little."""
    (tmp_path / "userlist.txt").write_text('"ann" "sesame"\n')
    of, hashing, secrets = project(users_file=str(tmp_path / "userlist.txt")), Hashing(monkeypatch), secrets_of()
    shown(secrets, of, "ann")
    shown(secrets, of, "nobody")
    assert hashing.count == 2


def test_passwords_that_auth_query_gives_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of users with passwords as they were typed tells as little, once it has given one."""
    of, hashing, secrets = project(auth_user="boss"), Hashing(monkeypatch), secrets_of()
    secrets._query(of)._answered("ann", [("ann", "sesame")])
    secrets._query(of)._answered("nobody", [])
    shown(secrets, of, "ann")
    shown(secrets, of, "nobody")
    assert hashing.count == 2


def test_pgbeam_logs_in_with_passwords_that_auth_query_gives() -> None:
    """As with those of a list; what it gave last counts, until it is asked again."""
    of, secrets = project(auth_user="boss"), secrets_of()
    secrets._query(of)._answered("ann", [("ann", "sesame")])
    assert secrets._proof(of, "ann", None) == Password(b"sesame")
    secrets._query(of)._answered("ann", [("ann", "open")])
    assert secrets._proof(of, "ann", None) == Password(b"open")
    secrets._query(of)._answered("ann", [])
    assert secrets._proof(of, "ann", None) is None


def test_a_list_that_has_become_wrong_changes_nothing(tmp_path: Path, told: list[str]) -> None:
    """Half of a line, a SCRAM secret that is none, or no file: who was in it is in it, and the log says why, once."""
    path = tmp_path / "userlist.txt"
    path.write_text('"ann" "sesame"\n')
    of, clock = project(users_file=str(path)), Clock()
    secrets = Secrets(lambda _: pytest.fail("no server is needed"), os.urandom, clock, lambda *_: None)
    good = secrets.lookup(of, "ann")
    assert good is not None
    for wrong, why in (
        ('"bob" "open"\n"ann', 'line 2: write it as "name" "secret"'),
        ('"bob" "open"\n\n"eve" "SCRAM-SHA-256$oops"', 'line 3: the secret of user "eve" is not a SCRAM'),
        (None, "No such file or directory"),
    ):
        path.unlink() if wrong is None else path.write_text(wrong)
        told.clear()
        for _ in range(3):
            clock.advance(1.1)
            assert secrets.lookup(of, "ann") == good
            assert secrets.lookup(of, "bob") is None
        assert len(told) == 1
        assert why in told[0]
    path.write_text('"ann" "new"\n')
    clock.advance(1.1)
    assert secrets.lookup(of, "ann") not in (None, good)


@pytest.mark.parametrize("password", ["a\x0cb", "a\u2028b", "a\x85b", 'a""b', "a b", "\x1c"])
def test_a_password_may_hold_what_ends_lines_elsewhere(tmp_path: Path, password: str) -> None:
    """Only a newline ends a line of userlist.txt, with a carriage return before it or not."""
    path = tmp_path / "userlist.txt"
    path.write_bytes(f'; users\r\n"ann" "{password}"\r\n"bob" "open"'.encode())
    listed = read_userlist(path)
    assert listed == {"ann": password.replace('""', '"'), "bob": "open"}


def test_a_secret_is_kept_for_all_workers_and_the_next_start(tmp_path: Path) -> None:
    """Several workers show one salt for a user that there is not, and so does PgBeam after a restart."""
    first = kept_secret(tmp_path / "state", os.urandom)
    assert kept_secret(tmp_path / "state", os.urandom) == first
    kept = tmp_path / "state" / NAME
    assert kept.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in kept.parent.iterdir()) == [NAME]


def test_a_secret_that_cannot_be_kept_is_made(tmp_path: Path) -> None:
    """PgBeam starts where it may write nothing."""
    (tmp_path / "file").write_text("")
    assert len(kept_secret(tmp_path / "file", os.urandom)) == 32
    (tmp_path / NAME).write_bytes(b"short")
    assert len(kept_secret(tmp_path, os.urandom)) == 32
