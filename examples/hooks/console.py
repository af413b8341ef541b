"""A table for the console: `SHOW GREETINGS`. With several workers `said` is added up for each language."""

from pgbeam_core import Table, hookimpl


@hookimpl
def console() -> dict[str, Table]:
    rows = [("en", "hello", 3), ("fr", None, 0)]
    types = ("text", "text", "int8")
    return {"GREETINGS": Table(("language", "greeting", "said"), rows, types, key=("language",))}
