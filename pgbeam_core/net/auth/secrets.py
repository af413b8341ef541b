"""What users are checked against, and what PgBeam logs in with as them."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core.api.opener import Opener
from pgbeam_core.api.query import Role, Target
from pgbeam_core.internal.credentials import StoredSecret
from pgbeam_core.internal.keyring import Keyring, Learned
from pgbeam_core.net.auth.auth_query import AuthQuery
from pgbeam_core.net.auth.own_passwords import OwnPassword, own_password
from pgbeam_core.settings import Project
from pgbeam_core.settings.userlist import read_userlist
from pgbeam_core.wire.message import raw
from pgbeam_core.wire.scram import SCRAM_SHA_256, ScramKeys, Verifier, mock_verifier
from pgbeam_core.wire.secrets import MD5, PASSWORD, VERIFIER, Md5Hash, Password, Proof, Secret, kind_of, parse_secret

log = Logger(__name__)

_LOOK_EVERY_S = 1.0
_MOST = 10_000
_ITERATIONS = 4096
_ONLY_MD5 = frozenset([MD5])

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
        self.kinds: frozenset[str] = frozenset()
        """Of its secrets."""

    def expire(self) -> None:
        """Look at it when it is needed next."""
        self._looked_at = None

    def secret_of(self, user: str) -> str | None:
        now = self._now()
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return self._users.get(user)

    def _look(self) -> None:
        """Each state of the file is read once, and complained of once."""
        try:
            status = self._path.stat()
            mark: tuple[int, ...] = (status.st_mtime_ns, status.st_size, status.st_ino)
            why = ""
        except OSError as error:
            mark, why = (error.errno or 0,), error.strerror or "cannot be read"
        if mark == self._mark:
            return
        self._mark = mark
        if not why:
            try:
                self._users = read_userlist(self._path)
                self.kinds = _kinds(self._users)
            except ValueError as problem:  # under a name of its own: compiled, a name has one type
                why = str(problem)
        if why:
            log.error("users_file {path} is as it was: {why}", path=str(self._path), why=why)


def _kinds(users: Mapping[str, str]) -> frozenset[str]:
    """Of the secrets of a list."""
    return frozenset(
        VERIFIER if text.startswith(SCRAM_SHA_256) else kind_of(parse_secret(text)) for text in users.values()
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
        self._kinds: dict[str, frozenset[str]] = {}
        """Of the secrets in the `users` of projects."""
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
            found = parse_secret(text)
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

        A password is hashed once, not at each login. Where some have one, listed or by auth_query, as much is done for
        the first login of who is not there: the time it takes tells nothing, nor does the salt.
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
        if secret is None and PASSWORD not in self._kinds_of(project):
            return nobody
        keys = ScramKeys.from_password(b"" if secret is None else secret.text, nobody.salt, _ITERATIONS)
        return nobody if secret is None else Verifier(_ITERATIONS, nobody.salt, keys.stored_key, keys.server_key)

    def of_nobody(self, project: Project, user: str) -> Secret | None:
        """For a user that there is not: where all have md5 hashes, one that no password has; else SCRAM tells least."""
        if self._kinds_of(project) != _ONLY_MD5:
            return None
        return Md5Hash(b"md5" + hmac.digest(self.mock, raw(user), "md5").hex().encode())

    def _kinds_of(self, project: Project) -> frozenset[str]:
        """Which kinds of secrets users of that project have, as far as that is known."""
        found = self._kinds.get(project.name)
        if found is None:
            found = self._kinds[project.name] = _kinds(project.logins.users)
        file = None if project.logins.users_file is None else self._files.get(project.logins.users_file)
        query = self._queries.get(project.name)
        return found | (frozenset() if file is None else file.kinds) | (frozenset() if query is None else query.kinds)

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
            if target.role is Role.PRIMARY:  # a replica of another kind may have other passwords
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
            query, listed = self._queries.get(project.name), self._listed(project, user)
            if listed is None and query is not None:
                listed = query.remembered(user)
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

    def look_again(self) -> None:
        """Somebody says that files are other ones now: what is said next is not from memory."""
        self._own.clear()
        for file in self._files.values():
            file.expire()

    def project_changed(self, name: str) -> None:
        """Its settings are other ones now, or it is gone: nothing that was known holds."""
        self.keyring.forget_project(name)
        self._kinds.pop(name, None)
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
