"""Which roles somebody may log in as who is known by a name of the system, or of a certificate. As pg_ident.conf."""

from __future__ import annotations

import re
from collections.abc import Mapping

ANY = "all"
_FIRST = "\\1"


def may_be(known_as: str, user: str, user_map: Mapping[str, str | tuple[str, ...]]) -> bool:
    """Whether that name may log in as that user. Without a map they must be equal.

    A name that begins with / is a regular expression, whose first group stands for \\1 in the users; `all` is any user.
    """
    if not user_map:
        return known_as == user
    return any(_allows(name, users, known_as, user) for name, users in user_map.items())


def _allows(name: str, users: str | tuple[str, ...], known_as: str, user: str) -> bool:
    group = ""
    if name.startswith("/"):
        found = re.search(name[1:], known_as)
        if found is None:
            return False
        group = (found.group(1) or "") if found.re.groups else ""
    elif name != known_as:
        return False
    listed = (users,) if isinstance(users, str) else users
    return any(one == ANY or one.replace(_FIRST, group) == user for one in listed)
