"""Notes once, for all texts that differ in literals only, whether they read a table of money."""

from pgbeam_core import Note, Statement, hookimpl

MONEY = Note[bool]("example")


@hookimpl
def template(statement: Statement) -> None:
    MONEY.put(statement, any(name == "accounts" for _schema, name in statement.relations))
