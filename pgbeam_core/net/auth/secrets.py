"""What users are checked against, and what PgBeam logs in with as them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.api.pool import Opener
from pgbeam_core.api.query import Target
from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.internal.keyring import Keyring, Learned
from pgbeam_core.net.auth.auth_query import AuthQuery
from pgbeam_core.net.auth.own_passwords import OwnPassword, own_password
from pgbeam_core.settings import Project
from pgbeam_core.settings.userlist import read_userlist
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.scram import SCRAM_SHA_256, ScramKeys, Verifier, mock_verifier
from pgbeam_core.wire.secrets import Password, Proof, Secret, parse_secret

log = Logger(__name__)

_LOOK_EVERY_S = 1.0
_MOST = 10_000
_ITERATIONS = 4096

Place = tuple[str, str]
"""Project and user."""


class UsersFile:
    """Reads a `users_file` again when it is another one; one that has become wrong changes nothing."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._looked_at: float | None = None
        self._mark: tuple[int, ...] | None = None
        self._users: Mapping[str, str] = {}
        self.has_passwords = False
        """Some of its secrets are passwords as they were typed."""

    def secret_of(self, user: str) -> str | None:
        now = self._now()
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return self._users.get(user)

    def _look(self) -> None:
        try:
            status = self._path.stat()
            mark = (status.st_mtime_ns, status.st_size, status.st_ino)
            if mark != self._mark:
                self._mark = mark
                self._users = read_userlist(self._path)
                self.has_passwords = _any_passwords(self._users)
        except OSError as error:
            log.error("users_file {path} is as it was: {why}", path=str(self._path), why=error.strerror)
        except ValueError as problem:  # under a name of its own: compiled, a name has one type
            log.error("users_file {path} is as it was: {why}", path=str(self._path), why=str(problem))


def _any_passwords(users: Mapping[str, str]) -> bool:
    """Whether a secret among them is a password as it was typed."""
    return any(
        isinstance(parse_secret(text), Password) for text in users.values() if not text.startswith(SCRAM_SHA_256)
    )


class Secrets:
    """Of all projects. `random` gives that many unguessable bytes.

    doubt: told project and user when what PgBeam has for them has changed, or was refused.
    """

    def __init__(
        self,
        opener: Callable[[Target], Opener],
        random: Callable[[int], bytes],
        clock: Any,
        doubt: Callable[[str, str], None],
    ) -> None:
        self.keyring = Keyring()
        self._doubt = doubt
        self._opener = opener
        self._random = random
        self._clock = clock
        self.mock = random(32)
        """What the salts of users that there are not are made of: the same in all workers, and after a restart."""
        self._queries: dict[str, AuthQuery] = {}
        self._files: dict[Path, UsersFile] = {}
        self._own: dict[Target, OwnPassword | None] = {}
        self._verifiers: dict[Place, tuple[Password | None, Verifier]] = {}
        """Of passwords, and of users that there are not, with what they were made of."""
        self._with_passwords: dict[str, bool] = {}
        """Projects whose `users` hold passwords as they were typed."""
        self._parsed: dict[str, Secret] = {}
        """What entries of lists mean."""
        self._derived: dict[Place, ScramKeys] = {}

    # What a client is checked against.

    def lookup(self, project: Project, user: str) -> Deferred[Secret | None] | Secret | None:
        """From `users`, then `users_file`, then `auth_query`. None if none knows the user."""
        found = self._listed(project, user)
        if found is None and project.logins.auth_user is not None:
            return self._query(project).lookup(user)
        return found

    def _listed(self, project: Project, user: str) -> Secret | None:
        logins = project.logins
        text = logins.users.get(user)
        if text is None and logins.users_file is not None:
            file = self._files.get(logins.users_file)
            if file is None:
                file = self._files[logins.users_file] = UsersFile(logins.users_file, self._clock.seconds)
            text = file.secret_of(user)
        if not text:
            return None
        found = self._parsed.get(text)
        if found is None:
            try:
                found = parse_secret(text)
            except ValueError:  # in a file that was changed since it was checked
                log.error("the secret of user {user} in users_file is no SCRAM-SHA-256 secret", user=user)
                return None
            if len(self._parsed) >= _MOST:
                self._parsed.clear()
            self._parsed[text] = found
        return found

    def _query(self, project: Project) -> AuthQuery:
        query = self._queries.get(project.name)
        if query is None:
            query = self._queries[project.name] = AuthQuery(
                project, lambda: self._opener(project.primary), lambda: self._of_auth_user(project), self._clock
            )
        return query

    def verifier(self, project: Project, user: str, secret: Password | Verifier | None) -> Verifier:
        """What SCRAM checks. For a user that there is not, one that no proof fits.

        A password is hashed once, not at each login. Where some are listed as they were typed, as much is done for the
        first login of who is not there: the time it takes tells nothing, nor does the salt.
        """
        if isinstance(secret, Verifier):
            return secret
        place = project.name, user
        known = self._verifiers.get(place)
        if known is None or known[0] != secret:
            if len(self._verifiers) >= _MOST:
                self._verifiers.clear()
            known = self._verifiers[place] = secret, self._made(project, user, secret)
        return known[1]

    def _made(self, project: Project, user: str, secret: Password | None) -> Verifier:
        nobody = mock_verifier(user, self.mock)
        if secret is None and not self._has_passwords(project):
            return nobody
        keys = ScramKeys.from_password(b"" if secret is None else secret.text, nobody.salt, _ITERATIONS)
        return nobody if secret is None else Verifier(_ITERATIONS, nobody.salt, keys.stored_key, keys.server_key)

    def _has_passwords(self, project: Project) -> bool:
        """Whether any user of that project is listed with a password as it was typed."""
        found = self._with_passwords.get(project.name)
        if found is None:
            found = self._with_passwords[project.name] = _any_passwords(project.logins.users)
        file = None if project.logins.users_file is None else self._files.get(project.logins.users_file)
        return found or (file is not None and file.has_passwords)

    # What PgBeam logs in with.

    def learn(self, project: Project, user: str, keys: Learned) -> None:
        """A client has proven that it knows what these stand for."""
        if self.keyring.of(project.name, user) != keys:  # equal ones stay the same object, for who compares
            self.keyring.learn(project.name, user, keys)
            self._doubt(project.name, user)

    def relay(self, project: Project, target: Target, user: str) -> StoredSecret:
        """Logs in to a server of that target as that user."""
        place = project.name, user
        own = self._own_password(project, target) if user in (target.user, project.primary.user) else None

        def refused(proof: Proof) -> None:
            if target.role == "primary":  # a replica of another kind may have other passwords
                self.keyring.forget(project.name, user, proof)
                self._doubt(project.name, user)

        return StoredSecret(
            user,
            lambda: self._proof(project, user, own),
            self._random,
            keys=self._derived.get(place),
            learned=lambda keys: self._remember(place, keys),
            refused=refused,
            renewed=None if own is None else own.renewed,
        )

    def _proof(self, project: Project, user: str, own: OwnPassword | None) -> Proof | Deferred[Any] | None:
        if own is not None and own.is_set:
            return own.get()
        learned = self.keyring.of(project.name, user)
        if learned is not None:
            return learned
        if project.auth != "passthrough":
            listed = self._listed(project, user)
            if listed is not None and not isinstance(listed, Verifier):
                return listed
        return None if own is None else own.get()

    def _remember(self, place: Place, keys: ScramKeys) -> None:
        """So that the password need not be hashed for each server."""
        if len(self._derived) >= _MOST:
            self._derived.clear()
        self._derived[place] = keys

    def _own_password(self, project: Project, target: Target) -> OwnPassword | None:
        if target not in self._own:
            if len(self._own) >= _MOST:
                self._own.clear()
            self._own[target] = own_password(project, target, self._clock.seconds)
        return self._own[target]

    def _of_auth_user(self, project: Project) -> StoredSecret:
        logins, user = project.logins, project.logins.auth_user or ""
        if logins.auth_password is None:
            target = project.primary if project.primary.user == user else project.primary._replace(user=user)
            own = self._own_password(project, target)
            return StoredSecret(
                user,
                lambda: None if own is None else own.get(),
                self._random,
                renewed=None if own is None else own.renewed,
            )
        password = Password(raw(logins.auth_password))
        return StoredSecret(user, lambda: password, self._random)

    # Changes.

    def project_changed(self, name: str) -> None:
        """Its settings are other ones now, or it is gone: nothing that was known holds."""
        self.keyring.forget_project(name)
        self._with_passwords.pop(name, None)
        self._parsed.clear()
        query = self._queries.pop(name, None)
        if query is not None:
            query.close()
        for target in [target for target in self._own if target.project == name]:
            del self._own[target]
        for known in (self._verifiers, self._derived):
            for place in [place for place in known if place[0] == name]:
                del known[place]

    def close(self) -> None:
        """Nobody logs in any more: PgBeam stops."""
        for name in list(self._queries):
            self._queries.pop(name).close()
