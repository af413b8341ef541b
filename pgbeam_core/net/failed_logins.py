"""Why logins fail, in a few words: each is a label of a metric, and there are no others."""

from __future__ import annotations

LEFT, OTHER, PROTOCOL, TIMEOUT = "left", "other", "protocol", "timeout"
_BY_SQLSTATE = {
    "28P01": "password",
    "28": "authorization",
    "08004": "rejected",
    "08P01": PROTOCOL,
    "08": "server",
    "3D": "database",
    "53": "limit",
    "57014": TIMEOUT,
    "57": "server",
}


def reason_of(sqlstate: str) -> str:
    """What a SQLSTATE stands for here: by itself, else by its class."""
    return _BY_SQLSTATE.get(sqlstate) or _BY_SQLSTATE.get(sqlstate[:2], OTHER)
