"""What clients' logins have taught: with it PgBeam logs in as them, and checks the next one itself.

It is kept in memory only, and holds no password: SCRAM keys, or the md5 hash that the server has too.
"""

from __future__ import annotations

from collections import OrderedDict

from pgbeam_core.wire.scram import ScramKeys
from pgbeam_core.wire.secrets import Md5Hash

MOST = 10_000
"""Users whose keys are remembered; the one who has not logged in for longest is forgotten, and asked anew."""

Learned = ScramKeys | Md5Hash


class Keyring:
    """What is known of each user of each project."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, str], Learned] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def learn(self, project: str, user: str, keys: Learned) -> None:
        """A client has proven that it knows the password that these stand for."""
        self._keys[project, user] = keys
        self._keys.move_to_end((project, user))
        if len(self._keys) > MOST:
            self._keys.popitem(last=False)

    def of(self, project: str, user: str) -> Learned | None:
        """What is known of that user."""
        found = self._keys.get((project, user))
        if found is not None:
            self._keys.move_to_end((project, user))
        return found

    def forget(self, project: str, user: str, keys: object) -> None:
        """The server does not take these any more; what has been learned since is kept."""
        if self._keys.get((project, user)) is keys:
            del self._keys[project, user]

    def forget_project(self, project: str) -> None:
        """Its settings have changed: another server may be behind it now."""
        for place in [place for place in self._keys if place[0] == project]:
            del self._keys[place]
