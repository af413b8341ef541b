"""What `[projects.<name>]` says about logins, checked beyond what the types say."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Mapping

from pgbeam_core.api.query import Target
from pgbeam_core.settings.model import Logins
from pgbeam_core.settings.userlist import read_userlist
from pgbeam_core.settings.where import Where
from pgbeam_core.settings.wrong import Wrong
from pgbeam_core.wire.secrets import parse_secret

FIELDS = tuple(field.name for field in dataclasses.fields(Logins))


def logins(raw: Logins, auth: str, primary: Target, where: Where) -> Logins:
    """What holds for the project with that primary. Raises SettingsError for all that is wrong."""
    wrong = Wrong()
    found = {name: getattr(raw, name) for name in FIELDS}
    if isinstance(raw.password_command, str):
        with wrong.noting():
            found["password_command"] = _split(raw.password_command, where / "password_command")
    for key, check in _CHECKS.items():
        with wrong.noting():
            check(raw, where / key)
    if auth == "scram" and not (raw.users or raw.users_file or raw.auth_user):
        wrong.add((where / "auth").error(auth, "needs users, users_file, or an auth_user to ask auth_query"))
    if raw.password_file and raw.password_command:
        wrong.add((where / "password_command").error("", "set password_file or password_command, not both"))
    for key in ("password_file", "password_command"):
        if getattr(raw, key) and primary.user is None:
            wrong.add((where / key).error("", "is about the user in upstream, and there is none"))
    wrong.tell()
    return Logins(**found)


def _split(command: str, where: Where) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise where.error(command, str(error)) from error
    if not words:
        raise where.error(command, "names no program")
    return words


def _users(raw: Logins, where: Where) -> None:
    _secrets(raw.users, where)


def _users_file(raw: Logins, where: Where) -> None:
    if raw.users_file is None:
        return
    try:
        read_userlist(raw.users_file)
    except ValueError as error:
        raise where.error(str(raw.users_file), str(error)) from error


def _secrets(users: Mapping[str, str], where: Where) -> None:
    wrong = Wrong()
    for name, secret in users.items():
        try:
            _secret(name, secret)
        except ValueError as error:
            wrong.add((where / name).error("", str(error)))
    wrong.tell()


def _secret(name: str, secret: str) -> None:
    try:
        parse_secret(secret)
    except ValueError as error:
        raise ValueError(f'the secret of user "{name}" is {error}') from error


def _auth_query(raw: Logins, where: Where) -> None:
    if re.search(r"\$1(?!\d)", raw.auth_query) is None:
        raise where.error(raw.auth_query, "does not ask for the user $1")


def _user_map(raw: Logins, where: Where) -> None:
    for name in raw.user_map:
        if name.startswith("/"):
            try:
                re.compile(name[1:])
            except re.error as error:
                raise (where / name).error("", f"not a regular expression: {error}") from error


_CHECKS: dict[str, Callable[[Logins, Where], None]] = {
    "users": _users,
    "users_file": _users_file,
    "auth_query": _auth_query,
    "user_map": _user_map,
}
