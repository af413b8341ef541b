"""What each type of statement is and does: one small reader for each."""

from __future__ import annotations

from collections.abc import Callable

from pgbeam_core.api.statement import Boundary, Kind
from pgbeam_core.sql import definitions, settings
from pgbeam_core.sql.facts import Facts, is_builtin, name_of, relation_name
from pgbeam_core.sql.tree import Node
from pgbeam_core.sql.walk import Walk

_WITH_HOLD = 0x20
"""The bit of DeclareCursorStmt.options, CURSOR_OPT_HOLD."""

_TRANSACTIONS = {
    "TRANS_STMT_BEGIN": Kind.BEGIN,
    "TRANS_STMT_START": Kind.BEGIN,
    "TRANS_STMT_COMMIT": Kind.COMMIT,
    "TRANS_STMT_ROLLBACK": Kind.ROLLBACK,
    "TRANS_STMT_SAVEPOINT": Kind.SAVEPOINT,
    "TRANS_STMT_RELEASE": Kind.RELEASE,
    "TRANS_STMT_ROLLBACK_TO": Kind.ROLLBACK_TO,
    "TRANS_STMT_PREPARE": Kind.TWO_PHASE,
    "TRANS_STMT_COMMIT_PREPARED": Kind.TWO_PHASE,
    "TRANS_STMT_ROLLBACK_PREPARED": Kind.TWO_PHASE,
}
_BOUNDARIES = {
    "TRANS_STMT_BEGIN": "BEGIN",
    "TRANS_STMT_START": "START TRANSACTION",
    "TRANS_STMT_COMMIT": "COMMIT",
    "TRANS_STMT_ROLLBACK": "ROLLBACK",
    "TRANS_STMT_SAVEPOINT": "SAVEPOINT",
    "TRANS_STMT_RELEASE": "RELEASE",
    "TRANS_STMT_ROLLBACK_TO": "ROLLBACK",
}
"""The command tags of what begins, ends or marks a transaction and does nothing else."""
_DISCARDS = {"DISCARD_ALL": "all", "DISCARD_TEMP": "temp_table"}
_FALSE = frozenset({"off", "false", "0"})


def facts_of(statement: Node) -> Facts:
    """What a statement {"TypeName": fields} is and does."""
    facts = Facts()
    ((type_name, fields),) = statement.items()
    if type_name in _QUERIES:
        facts.kind = _QUERIES[type_name]
        _query(facts, statement)
    elif type_name in _READERS:
        _READERS[type_name](facts, fields)
    else:
        definitions.define(facts, type_name, fields)
    return facts


def _query(facts: Facts, statement: Node) -> None:
    Walk(facts).run(statement)
    ((_, fields),) = statement.items()
    settings.settings_of_calls(facts, fields)
    # It is a view with a rule that calls set_config.
    if any(is_builtin(name, "pg_settings") for name in facts.writes):
        facts.makes.add("unknown")
    if _is_unlock_all(fields):
        facts.drops.add("advisory_lock")


def _is_unlock_all(fields: Node) -> bool:
    """Exactly SELECT pg_advisory_unlock_all(): anything more might keep it from running."""
    targets = fields.get("targetList", ())
    if not fields.keys() <= {"targetList", "limitOption", "op"} or len(targets) != 1:
        return False
    call = targets[0]["ResTarget"]["val"].get("FuncCall")
    plain = call is not None and call.keys() <= {"funcname", "funcformat", "location"}
    return plain and is_builtin(name_of(call["funcname"]), "pg_advisory_unlock_all")


def _transaction(facts: Facts, fields: Node) -> None:
    facts.kind = _TRANSACTIONS[fields["kind"]]
    facts.subject = fields.get("savepoint_name") or fields.get("gid")
    facts.writes_unknown = fields["kind"] == "TRANS_STMT_COMMIT_PREPARED"
    tag = _BOUNDARIES.get(fields["kind"])
    if tag is None or fields.get("chain"):
        return
    isolation = None
    for option in (item["DefElem"] for item in fields.get("options", ())):
        if option["defname"] == "transaction_isolation":
            isolation = option["arg"]["A_Const"]["sval"]["sval"].lower()
    facts.boundary = Boundary(tag, isolation)


def _copy(facts: Facts, fields: Node) -> None:
    facts.kind = Kind.COPY
    walk = Walk(facts)
    if "query" in fields:
        inner = facts_of(fields["query"])
        facts.add_executed(inner)
        return
    (facts.writes if fields.get("is_from") else facts.relations).add(relation_name(fields["relation"]))
    if "whereClause" in fields:
        walk.run(fields["whereClause"])


def _explain(facts: Facts, fields: Node) -> None:
    facts.kind = Kind.EXPLAIN
    facts.subject = _executed_name(fields)
    inner = facts_of(fields["query"])
    if any(_is_on(option["DefElem"]) for option in fields.get("options", ())):
        facts.add_executed(inner)
    else:  # functions that are called immutable or stable may run while it is planned
        facts.functions |= inner.functions
        facts.fields |= inner.fields
        facts.types |= inner.types


def _executed_name(fields: Node) -> str | None:
    """The statement that EXPLAIN EXECUTE or CREATE TABLE … AS EXECUTE is about."""
    name: str | None = fields["query"].get("ExecuteStmt", {}).get("name")
    return name


def _is_on(option: Node) -> bool:
    if option["defname"] != "analyze":
        return False
    value = option.get("arg", {})
    if "Integer" in value:
        return bool(value["Integer"])
    return value.get("String", {}).get("sval", "").lower() not in _FALSE


def _prepare(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.PREPARE, fields["name"]
    inner = facts_of(fields["query"])
    # An EXECUTE does not say what it runs, so the state it may leave behind is booked here.
    facts.makes |= inner.makes | {"prepare"} | ({"unknown"} if inner.settings else set())
    # Constants become values of their types at once.
    facts.types |= inner.types
    facts.relations |= inner.relations | inner.writes


def _execute(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject, facts.writes_unknown = Kind.EXECUTE, fields["name"], True


def _deallocate(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.DEALLOCATE, fields.get("name")
    if facts.subject is None:
        facts.drops.add("prepare")


def _declare(facts: Facts, fields: Node) -> None:
    facts.add_executed(facts_of(fields["query"]))
    facts.kind, facts.subject = Kind.DECLARE, fields["portalname"]
    if fields.get("options", 0) & _WITH_HOLD:
        facts.makes.add("with_hold")


def _fetch(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.FETCH, fields["portalname"]


def _close(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.CLOSE, fields.get("portalname")
    if facts.subject is None:
        facts.drops.add("with_hold")


def _listen(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.LISTEN, fields["conditionname"]
    facts.makes.add("listen")


def _unlisten(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.UNLISTEN, fields.get("conditionname")
    if facts.subject is None:
        facts.drops.add("listen")


def _notify(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.NOTIFY, fields["conditionname"]


def _lock(facts: Facts, fields: Node) -> None:
    facts.kind = Kind.LOCK


def _load(facts: Facts, fields: Node) -> None:
    facts.kind, facts.subject = Kind.LOAD, fields["filename"]
    facts.makes.add("load")


def _discard(facts: Facts, fields: Node) -> None:
    facts.kind = Kind.DISCARD
    if fields["target"] in _DISCARDS:
        facts.drops.add(_DISCARDS[fields["target"]])


def _call(facts: Facts, fields: Node) -> None:
    Walk(facts).run({"FuncCall": fields["funccall"]})
    facts.kind, facts.writes_unknown = Kind.CALL, True
    facts.makes.add("unknown")


def _do(facts: Facts, fields: Node) -> None:
    facts.kind, facts.writes_unknown = Kind.DO, True
    facts.makes.add("unknown")


def _create_table_as(facts: Facts, fields: Node) -> None:
    facts.add_executed(facts_of(fields["query"]))
    facts.kind, facts.subject = Kind.DDL, _executed_name(fields)
    Walk(facts).into(fields["into"])


_QUERIES = {
    "SelectStmt": Kind.SELECT,
    "InsertStmt": Kind.INSERT,
    "UpdateStmt": Kind.UPDATE,
    "DeleteStmt": Kind.DELETE,
    "MergeStmt": Kind.MERGE,
}
_READERS: dict[str, Callable[[Facts, Node], None]] = {
    "TransactionStmt": _transaction,
    "VariableSetStmt": settings.set_statement,
    "VariableShowStmt": settings.show_statement,
    "CopyStmt": _copy,
    "ExplainStmt": _explain,
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeallocateStmt": _deallocate,
    "DeclareCursorStmt": _declare,
    "FetchStmt": _fetch,
    "ClosePortalStmt": _close,
    "ListenStmt": _listen,
    "UnlistenStmt": _unlisten,
    "NotifyStmt": _notify,
    "LockStmt": _lock,
    "LoadStmt": _load,
    "DiscardStmt": _discard,
    "CallStmt": _call,
    "DoStmt": _do,
    "CreateTableAsStmt": _create_table_as,
}
