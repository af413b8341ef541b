"""A table for the console: `SHOW GREETINGS`."""

from pgbeam_core import Table, hookimpl


@hookimpl
def console() -> dict[str, Table]:
    return {"GREETINGS": Table(("language", "greeting"), [("en", "hello"), ("fr", None)])}
