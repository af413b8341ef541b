"""What a session can see of itself."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .. import frames
from ..wireclient import Frame, WireClient, error_fields
from .things import APP, BOSS

View = dict[str, str]
"""What there is of each kind; what there is not is left out."""

_TEMP = "relnamespace = pg_catalog.pg_my_temp_schema() AND relnamespace <> 0"
_SHOWN = {
    "current_user": "SELECT current_user::text",
    "session_user": "SELECT session_user::text",
    "role": "SELECT pg_catalog.current_setting('role')",
    "app.tenant": "SELECT nullif(pg_catalog.current_setting('app.tenant', true), '')",
    "settings": "SELECT string_agg(name || '=' || setting, '; ' ORDER BY name) FROM pg_catalog.pg_settings"
    " WHERE source = 'session' AND name NOT LIKE 'transaction\\_%'",
    "read_only": "SELECT nullif(pg_catalog.current_setting('transaction_read_only'), 'off')",
    "temporary relations": f"SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_catalog.pg_class WHERE {_TEMP}",
    "temporary types": "SELECT string_agg(typname, ' ' ORDER BY typname) FROM pg_catalog.pg_type"
    " WHERE typnamespace = pg_catalog.pg_my_temp_schema() AND typnamespace <> 0 AND typtype IN ('e', 'd')",
    "temporary functions": "SELECT string_agg(proname, ' ') FROM pg_catalog.pg_proc"
    " WHERE pronamespace = pg_catalog.pg_my_temp_schema() AND pronamespace <> 0",
    "temporary operators": "SELECT string_agg(oprname, ' ') FROM pg_catalog.pg_operator"
    " WHERE oprnamespace = pg_catalog.pg_my_temp_schema() AND oprnamespace <> 0",
    "temporary collations": "SELECT string_agg(collname, ' ') FROM pg_catalog.pg_collation"
    " WHERE collnamespace = pg_catalog.pg_my_temp_schema() AND collnamespace <> 0",
    "temporary dictionaries": "SELECT string_agg(dictname, ' ') FROM pg_catalog.pg_ts_dict"
    " WHERE dictnamespace = pg_catalog.pg_my_temp_schema() AND dictnamespace <> 0",
    "locks": "SELECT string_agg(classid || ',' || objid || ' ' || mode, '; ' ORDER BY objid) FROM pg_catalog.pg_locks"
    " WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()",
    "channels": "SELECT string_agg(c, ' ') FROM pg_catalog.pg_listening_channels() c",
    "prepared": "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_catalog.pg_prepared_statements WHERE from_sql",
    "cursors": "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_catalog.pg_cursors WHERE is_holdable",
    "slots": "SELECT string_agg(substr(slot_name, 1, 6), ' ') FROM pg_catalog.pg_replication_slots"
    " WHERE temporary AND active_pid = pg_catalog.pg_backend_pid()",
    "mine": "SELECT nullif(pg_catalog.to_regclass('mine')::text, '')",
}
_BOSS = {"origin": "SELECT nullif(pg_catalog.pg_replication_origin_session_is_setup(), false)::text"}
TIED = frozenset({
    "temporary relations", "temporary types", "temporary functions", "temporary operators", "temporary collations",
    "temporary dictionaries", "locks", "channels", "prepared", "cursors", "slots", "origin",
})  # fmt: skip
"""What cannot be given to another server: who has it has to have its server."""
_READS = {
    "rows": "/* @pgbeam:cache */ SELECT count(*) FROM m.written",
    "secret": "/* @pgbeam:cache */ SELECT string_agg(tenant, ' ' ORDER BY n) FROM m.secret",
}
_PID = "pid"


def view_query(user: str) -> bytes:
    """Asks for everything at once, with the process id."""
    shown = _SHOWN | (_BOSS if user == BOSS else {})
    parts = [f"SELECT '{name}' AS what, ({query}) AS value" for name, query in shown.items()]
    return frames.query(" UNION ALL ".join([*parts, f"SELECT '{_PID}', pg_catalog.pg_backend_pid()::text"]))


QUERIES = {user: view_query(user) for user in (APP, BOSS)}


def look(client: WireClient, user: str, ask: str = "") -> tuple[View, int]:
    """What the session of that user sees of itself now, and the process id of its server."""
    client.send(QUERIES[user])
    return received(client.until(b"Z"), client, ask)


def received(reply: Sequence[Frame], client: WireClient, ask: str) -> tuple[View, int]:
    """The view that the reply is, and the process id; an error is a view too."""
    seen: View = {}
    for frame in reply:
        if frame.tag == b"E":
            seen["error"] = _error(frame)
        elif frame.tag == b"D":
            name, value = row(frame.body)
            if value is not None:
                seen[name or ""] = value
    if ask:
        seen[ask] = _answer(client, ask)
    return seen, int(seen.pop(_PID, "0"))


def read(client: WireClient, number: int) -> View:
    """What the session reads, perhaps from the cache; a text with another number is another entry of it."""
    return {name: _answer(client, f"{query} WHERE {number} >= 0") for name, query in _READS.items()}


def _answer(client: WireClient, text: str) -> str:
    reply = client.ask(frames.query(text))
    return " ".join(
        _error(frame) if frame.tag == b"E" else str(row(frame.body)[0]) for frame in reply if frame.tag in b"DE"
    )


def _error(frame: Frame) -> str:
    fields = error_fields(frame.body)
    return f"{fields['C']} {fields['M']}"


def row(body: bytes) -> list[str | None]:
    """The values of a DataRow."""
    values: list[str | None] = []
    at = 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        size = struct.unpack_from("!i", body, at)[0]
        at += 4
        values.append(None if size < 0 else body[at : at + size].decode("utf-8", "replace"))
        at += max(size, 0)
    return values
