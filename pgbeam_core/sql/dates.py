"""Whether a cast may read the word now: what becomes a date or a time is not always spelt out in the text."""

from __future__ import annotations

from pgbeam_core.sql.facts import Facts, name_of
from pgbeam_core.sql.tree import Node

CLOCK_TYPES = frozenset(
    {"date", "time", "timetz", "timestamp", "timestamptz", "daterange", "tsrange", "tstzrange"}
    | {"datemultirange", "tsmultirange", "tstzmultirange"}
)
# What these mean depends on the catalog and on search_path; a time with a zone name depends on today's daylight saving.
CHANGING_TYPES = frozenset(
    {"regclass", "regcollation", "regconfig", "regdictionary", "regnamespace", "regoper", "regoperator"}
    | {"regproc", "regprocedure", "regrole", "regtype", "regdatabase", "timetz"}
)
PLAIN_TYPES = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "money", "text", "varchar", "bpchar", "char"}
    | {"name", "bytea", "json", "jsonb", "jsonpath", "uuid", "xml", "inet", "cidr", "macaddr", "macaddr8", "bit"}
    | {"varbit", "oid", "xid", "xid8", "tid", "cid", "pg_lsn", "pg_snapshot", "interval", "tsvector", "tsquery"}
    | {"point", "line", "lseg", "box", "path", "polygon", "circle", "int4range", "int8range", "numrange"}
    | {"int4multirange", "int8multirange", "nummultirange", "oidvector", "int2vector", "cstring", "unknown"}
    | {"boolean", "int", "integer", "bigint", "smallint", "real", "refcursor", "record", "void"}
)
"""Types of PostgreSQL's own whose values are no dates, whatever text they are read from."""
_OF_DATES = frozenset(
    {"date_trunc", "date_bin", "make_date", "make_time", "make_timestamp", "make_timestamptz", "to_date", "timezone"}
    | {"to_timestamp", "generate_series", "date_add", "date_subtract", "now"}
    | {"transaction_timestamp", "statement_timestamp", "clock_timestamp"}
    | CLOCK_TYPES  # casts, noted for themselves
)
"""Functions that give dates and times, made from anything but texts that could spell such a word."""
_OF_ANY = frozenset({"min", "max", "first_value", "last_value", "nth_value", "lag", "lead"})
"""Functions that give one of the values that they are given."""
_PLAIN_OPERATORS = frozenset({"+", "-", "*", "/", "%", "=", "<>", "<", ">", "<=", ">="})
_SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})


def note_type(facts: Facts, type_name: Node) -> str:
    """A type is named. Gives its name without the schema."""
    name = name_of(type_name["names"])[1]
    if name in CHANGING_TYPES:
        facts.changing = True
    elif name not in PLAIN_TYPES and name not in CLOCK_TYPES:
        facts.types.add(name)
    return name


def note_cast(facts: Facts, target: str, value: object) -> None:
    """That value becomes one of that type."""
    if target in PLAIN_TYPES:
        return
    todo = [value]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            for key, fields in node.items():
                if key == "ColumnRef":
                    facts.dated.add(_last(fields) or "")
                elif key == "A_Indirection":
                    facts.dated.add("")
                elif _may_make_words(key, fields):
                    facts.changing = True
                elif _is_dated(key, fields):
                    continue
                elif isinstance(fields, dict | list):
                    todo.append(fields)


def _may_make_words(key: str, fields: Node) -> bool:
    if key == "FuncCall":
        return name_of(fields["funcname"])[1] not in _OF_DATES | _OF_ANY
    if key == "A_Expr":
        return name_of(fields["name"])[1] not in _PLAIN_OPERATORS
    return key in ("SubLink", "XmlExpr", "XmlSerialize", "JsonFuncExpr", "A_ArrayExpr")


def _is_dated(key: str, fields: Node) -> bool:
    """Whether that gives a date, or is a cast that is noted for itself."""
    if key == "TypeCast":
        return name_of(fields["typeName"]["names"])[1] in CLOCK_TYPES
    return key == "FuncCall" and name_of(fields["funcname"])[1] in _OF_DATES


def note_column(facts: Facts, fields: Node) -> None:
    """A column is named: a system column, or perhaps a function of the row that stands before the point."""
    name = _last(fields)
    if name in _SYSTEM_COLUMNS:
        facts.changing = True  # VACUUM FULL and UPDATEs that set nothing change it
    if name is not None and len(fields["fields"]) > 1:
        facts.fields.add(name)


def _last(fields: Node) -> str | None:
    last = fields["fields"][-1].get("String")
    return None if last is None else last.get("sval", "")
