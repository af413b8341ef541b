"""The walk over queries: SELECT, INSERT, UPDATE, DELETE, MERGE and everything they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pgbeam_core.sql import dates
from pgbeam_core.sql.clock import mentions_clock
from pgbeam_core.sql.facts import Facts, is_temporary, name_of, relation_name
from pgbeam_core.sql.tree import Node
from pgbeam_core.sql.volatility import BUILTIN_OPERATORS


class Scope(NamedTuple):
    """The WITH queries that hide relations at some place of the tree: those of `places` before `end`, and of `outer`.

    All queries of a clause share its names, so that a long clause costs no more than it is long.
    """

    outer: Scope | None
    places: Mapping[str, int]
    end: int

    def hides(self, relation: str) -> bool:
        """Whether that name means a WITH query here."""
        scope: Scope | None = self
        while scope is not None:
            if scope.places.get(relation, scope.end) < scope.end:
                return True
            scope = scope.outer
        return False


NO_NAMES = Scope(None, {}, 0)

_SETTERS = frozenset({"set_config", "setseed"})
_LEAVE: dict[str, str] = {
    function: word
    for word, functions in {
        "advisory_lock": "pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared",
        "slot": "pg_create_logical_replication_slot pg_create_physical_replication_slot"
        " pg_copy_logical_replication_slot pg_copy_physical_replication_slot",
        "origin": "pg_replication_origin_session_setup pg_replication_origin_session_reset",
        "backup": "pg_backup_start pg_start_backup",
        # They run SQL that is made of text, or what a name in a text stands for.
        "unknown": "query_to_xml query_to_xml_and_xmlschema query_to_xmlschema cursor_to_xml cursor_to_xmlschema"
        " table_to_xml table_to_xml_and_xmlschema schema_to_xml schema_to_xml_and_xmlschema"
        " database_to_xml database_to_xml_and_xmlschema ts_stat ts_rewrite"
        # Or they make a value of a type, or work out an index, that a text or a number names.
        " pg_input_is_valid pg_input_error_info domain_in array_in record_in range_in multirange_in"
        " brin_summarize_new_values brin_summarize_range",
    }.items()
    for function in functions.split()
}
"""PostgreSQL's own functions that leave something in the session, with the word for it."""


class Walk:
    """Collects into `facts` what a tree does. The order of visits says nothing."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._todo: list[tuple[Any, Scope]] = []

    def run(self, tree: Any, scope: Scope = NO_NAMES) -> None:
        """Visit a node {"TypeName": fields}, a list of nodes, or bare fields, and all below."""
        todo = self._todo
        todo.append((tree, scope))
        while todo:
            node, scope = todo.pop()
            if type(node) is list:
                for item in node:
                    todo.append((item, scope))
                continue
            for key, value in node.items():
                if type(value) is dict:
                    visit = _VISITS.get(key)
                    if visit is None:
                        todo.append((value, scope))
                    else:
                        visit(self, value, scope)
                elif type(value) is list:
                    todo.append((value, scope))

    def later(self, node: Any, scope: Scope) -> None:
        """Visit it before `run` returns."""
        self._todo.append((node, scope))

    def fields(self, fields: Node, scope: Scope, *but: str) -> None:
        """Visit the fields of a node, except some."""
        self.later({key: value for key, value in fields.items() if key not in but}, scope)

    def with_queries(self, fields: Node, scope: Scope) -> Scope:
        """Visit the WITH queries of a statement; give the scope for the rest of it."""
        clause = fields.get("withClause")
        if clause is None:
            return scope
        queries: list[Node] = [item["CommonTableExpr"] for item in clause["ctes"]]
        places: dict[str, int] = {}
        for place, query in enumerate(queries):
            places.setdefault(query["ctename"], place)
        whole = Scope(scope, places, len(queries))
        for place, query in enumerate(queries):
            self.facts.aliases |= {name_of([column])[1] for column in query.get("aliascolnames", ())}
            self.later(query["ctequery"], whole if clause.get("recursive") else Scope(scope, places, place))
        return whole

    def into(self, clause: Node) -> None:
        """A table that a query makes: SELECT INTO, CREATE TABLE AS."""
        self.facts.writes.add(relation_name(clause["rel"]))
        if is_temporary(clause["rel"]):
            self.facts.makes.add("temp_table")


def _select(walk: Walk, fields: Node, scope: Scope) -> None:
    scope = walk.with_queries(fields, scope)
    if "lockingClause" in fields:
        walk.facts.locks = True
    if "intoClause" in fields:
        walk.into(fields["intoClause"])
    for arm in ("larg", "rarg"):
        if arm in fields:
            walk.later({"SelectStmt": fields[arm]}, scope)
    walk.fields(fields, scope, "withClause", "lockingClause", "intoClause", "larg", "rarg")


def _modify(walk: Walk, fields: Node, scope: Scope) -> None:
    scope = walk.with_queries(fields, scope)
    walk.facts.writes.add(relation_name(fields["relation"]))
    walk.fields(fields, scope, "withClause", "relation")


def _relation(walk: Walk, fields: Node, scope: Scope) -> None:
    schema, relation = relation_name(fields)
    if schema is not None or not scope.hides(relation):
        walk.facts.relations.add((schema, relation))


def _call(walk: Walk, fields: Node, scope: Scope) -> None:
    name = name_of(fields["funcname"])
    walk.facts.functions.add(name)
    if name[0] in (None, "pg_catalog"):
        if name[1] in _SETTERS:
            walk.facts.setters.append(fields)
        elif name[1] in _LEAVE:
            walk.facts.makes.add(_LEAVE[name[1]])
    if name[1] in dates.CLOCK_TYPES:  # a cast, written as a call
        dates.note_cast(walk.facts, name[1], fields.get("args", []))
    walk.fields(fields, scope, "funcname")


def _changing(walk: Walk, fields: Node, scope: Scope) -> None:
    walk.facts.changing = True
    walk.later(fields, scope)


def _constant(walk: Walk, fields: Node, scope: Scope) -> None:
    if "sval" in fields and mentions_clock(fields["sval"].get("sval", "").encode()):
        walk.facts.changing = True


def _cast(walk: Walk, fields: Node, scope: Scope) -> None:
    dates.note_cast(walk.facts, dates.note_type(walk.facts, fields["typeName"]), fields["arg"])
    walk.fields(fields, scope, "typeName")


def _type(walk: Walk, fields: Node, scope: Scope) -> None:
    """Where no cast is written: columns of XMLTABLE and their like. What they hold is read from texts."""
    if dates.note_type(walk.facts, fields) in dates.CLOCK_TYPES:
        walk.facts.changing = True


def _column(walk: Walk, fields: Node, scope: Scope) -> None:
    dates.note_column(walk.facts, fields)


def _indirection(walk: Walk, fields: Node, scope: Scope) -> None:
    """(x).y, x[1]: a field, or a function that is called with x."""
    for step in fields.get("indirection", ()):
        if "String" in step:
            walk.facts.fields.add(step["String"].get("sval", ""))
    walk.later(fields, scope)


def _target(walk: Walk, fields: Node, scope: Scope) -> None:
    if "name" in fields:
        walk.facts.aliases.add(fields["name"])
    walk.fields(fields, scope)


def _alias(walk: Walk, fields: Node, scope: Scope) -> None:
    walk.facts.aliases |= {name_of([column])[1] for column in fields.get("colnames", ())}


def _operation(walk: Walk, fields: Node, scope: Scope) -> None:
    """An operator that is not built-in is a function by another name."""
    for key in ("name", "operName", "useOp"):
        if key in fields:
            schema, operator = name_of(fields[key])
            own = schema not in (None, "pg_catalog") or operator not in BUILTIN_OPERATORS
            if own and not operator.endswith(("BETWEEN", "SYMMETRIC")):
                walk.facts.functions.add((schema, operator))
    walk.fields(fields, scope, "name", "operName", "useOp")


_VISITS: dict[str, Callable[[Walk, Node, Scope], None]] = {
    "SelectStmt": _select,
    "InsertStmt": _modify,
    "UpdateStmt": _modify,
    "DeleteStmt": _modify,
    "MergeStmt": _modify,
    "RangeVar": _relation,
    "FuncCall": _call,
    "SQLValueFunction": _changing,
    "RangeTableSample": _changing,
    "A_Const": _constant,
    "TypeCast": _cast,
    "A_Expr": _operation,
    "SubLink": _operation,
    "SortBy": _operation,
    "ColumnRef": _column,
    "A_Indirection": _indirection,
    "ResTarget": _target,
    "Alias": _alias,
    "alias": _alias,
    "typeName": _type,
}
