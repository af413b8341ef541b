"""Statements that define, change and drop things, and the housekeeping ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgbeam_core.api.statement import Kind
from pgbeam_core.sql.facts import Facts, in_temp_schema, name_of, relation_name
from pgbeam_core.sql.tree import Node

_RELATION_TYPES = frozenset(
    {"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE"}
)
# They move rows in and out of a parent that may have parents of its own, which the text does not name.
_FAMILY_CHANGES = frozenset(
    {"AT_AttachPartition", "AT_DetachPartition", "AT_DetachPartitionFinalize", "AT_AddInherit", "AT_DropInherit"}
)
_HARMLESS = {
    "CheckPointStmt": Kind.UTILITY,
    "ConstraintsSetStmt": Kind.UTILITY,
    "CommentStmt": Kind.DDL,
}
_UTILITIES = frozenset({"AlterSystemStmt", "ClusterStmt", "VacuumStmt", "ReindexStmt"})
_CREATORS = ("Create", "View", "Define", "CompositeType", "Index")


def define(facts: Facts, type_name: str, fields: Node) -> None:
    """Read a statement that is neither a query nor about the session. What is not certain changes unknown relations."""
    facts.kind = Kind.UTILITY if type_name in _UTILITIES else Kind.DDL
    if type_name in _HARMLESS:
        facts.kind = _HARMLESS[type_name]
    elif type_name in _RELATION_FIELDS:
        facts.writes.add(relation_name(fields[_RELATION_FIELDS[type_name]]))
    elif type_name in _READERS:
        _READERS[type_name](facts, fields)
    else:
        facts.writes_unknown = True
    if type_name.startswith(_CREATORS) and _mentions_temp(fields):
        facts.makes.add("temp_table")


def _mentions_temp(tree: Any) -> bool:
    """Whether TEMP, pg_temp or a pg_temp_N stands anywhere in a definition."""
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            if node.get("relpersistence") == "t" or _names_temp(node.get("schemaname") or node.get("sval")):
                return True
            todo += [value for value in node.values() if isinstance(value, dict | list)]
    return False


def _names_temp(value: Any) -> bool:
    return isinstance(value, str) and in_temp_schema(value)


def _cascades(fields: Node) -> bool:
    return bool(fields.get("behavior") == "DROP_CASCADE")


def _alter_table(facts: Facts, fields: Node) -> None:
    facts.writes.add(relation_name(fields["relation"]))
    commands = [item["AlterTableCmd"] for item in fields.get("cmds", ())]
    facts.writes_unknown = any(_cascades(command) or command["subtype"] in _FAMILY_CHANGES for command in commands)


def _drop(facts: Facts, fields: Node) -> None:
    facts.writes_unknown = _cascades(fields) or fields["removeType"] not in _RELATION_TYPES
    if fields["removeType"] in _RELATION_TYPES:
        facts.writes |= {name_of(item["List"]["items"]) for item in fields["objects"]}


def _truncate(facts: Facts, fields: Node) -> None:
    facts.writes |= {relation_name(item["RangeVar"]) for item in fields["relations"]}
    facts.writes_unknown = _cascades(fields)


def _rename(facts: Facts, fields: Node) -> None:
    if "relation" not in fields or _cascades(fields):
        facts.writes_unknown = True
        return
    schema, relation = relation_name(fields["relation"])
    facts.writes.add((schema, relation))
    if fields["renameType"] in _RELATION_TYPES:
        facts.writes.add((schema, fields["newname"]))


def _move(facts: Facts, fields: Node) -> None:
    if "relation" not in fields:
        facts.writes_unknown = True
        return
    schema, relation = relation_name(fields["relation"])
    facts.writes |= {(schema, relation), (fields["newschema"], relation)}


def _grant(facts: Facts, fields: Node) -> None:
    """What a role may read changes, so rights count as a change of the relation."""
    named = fields["targtype"] == "ACL_TARGET_OBJECT" and fields["objtype"] == "OBJECT_TABLE"
    facts.writes_unknown = not named or _cascades(fields)
    if named:
        facts.writes |= {relation_name(item["RangeVar"]) for item in fields["objects"]}


def _create_foreign_table(facts: Facts, fields: Node) -> None:
    facts.writes.add(relation_name(fields["base"]["relation"]))


def _rule(facts: Facts, fields: Node) -> None:
    facts.writes.add(relation_name(fields["relation"]))
    facts.writes_unknown = True


def _view(facts: Facts, fields: Node) -> None:
    """A replaced view changes what views above it show."""
    facts.writes.add(relation_name(fields["view"]))
    facts.writes_unknown = bool(fields.get("replace"))


def _vacuum(facts: Facts, fields: Node) -> None:
    """Expressions of indexes and statistics are computed: they may be code of users, which writes what it wants."""
    relations = [item["VacuumRelation"].get("relation") for item in fields.get("rels", ())]
    facts.writes |= {relation_name(relation) for relation in relations if relation is not None}
    facts.writes_unknown = not facts.writes


def _reindex(facts: Facts, fields: Node) -> None:
    """Likewise; of an index it is not known which table it belongs to."""
    if fields["kind"] == "REINDEX_OBJECT_TABLE":
        facts.writes.add(relation_name(fields["relation"]))
    else:
        facts.writes_unknown = True


def _cluster(facts: Facts, fields: Node) -> None:
    if "relation" in fields:
        facts.writes.add(relation_name(fields["relation"]))


_RELATION_FIELDS = {
    "CreateStmt": "relation",
    "IndexStmt": "relation",
    "CreateSeqStmt": "sequence",
    "AlterSeqStmt": "sequence",
    "RefreshMatViewStmt": "relation",
    "CreatePolicyStmt": "table",
    "AlterPolicyStmt": "table",
    "CreateTrigStmt": "relation",
}
_READERS: dict[str, Callable[[Facts, Node], None]] = {
    "AlterTableStmt": _alter_table,
    "DropStmt": _drop,
    "TruncateStmt": _truncate,
    "RenameStmt": _rename,
    "AlterObjectSchemaStmt": _move,
    "GrantStmt": _grant,
    "CreateForeignTableStmt": _create_foreign_table,
    "RuleStmt": _rule,
    "ViewStmt": _view,
    "ClusterStmt": _cluster,
    "ReindexStmt": _reindex,
    "VacuumStmt": _vacuum,
}
