"""Notes once per text what the text alone decides: here, whether it has a comment of an ORM in it."""

import re

from pgbeam_core import Note, Statement, hookimpl

ORIGIN = Note[str]("example")
_COMMENT = re.compile(r"/\* (?P<view>\w+\.\w+) \*/")


@hookimpl
def parse(statement: Statement) -> None:
    found = _COMMENT.search(statement.sql)  # .sql is a str, .text the bytes that the server sees
    if found is not None:
        ORIGIN.put(statement, found["view"])
