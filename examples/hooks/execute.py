"""Refuses TRUNCATE, whoever asks for it."""

from pgbeam_core import Query, Refusal, hookimpl


@hookimpl
def execute(query: Query) -> Refusal | None:
    if query.statement.sql.lstrip()[:8].upper() == "TRUNCATE":
        return Refusal("42501", "TRUNCATE is not for this server", hint="DELETE can be rolled back, and counts.")
    return None
