"""What the walk over a tree finds out about one statement, before it becomes a `Statement`."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgbeam_core.api.statement import Boundary, Kind, Name, SettingAction, SettingChange
from pgbeam_core.sql.tree import Node


@dataclass(slots=True)
class Facts:
    """Everything starts at what an empty statement would have; each finding only ever adds."""

    kind: Kind = Kind.UNKNOWN
    relations: set[Name] = field(default_factory=set)
    writes: set[Name] = field(default_factory=set)
    writes_unknown: bool = False
    functions: set[Name] = field(default_factory=set)
    makes: set[str] = field(default_factory=set)
    drops: set[str] = field(default_factory=set)
    settings: list[SettingChange] = field(default_factory=list)
    subject: str | None = None
    fields: set[str] = field(default_factory=set)
    """Names behind a point, of columns or of functions with one argument."""
    types: set[str] = field(default_factory=set)
    """Names of types, without their schema."""
    dated: set[str] = field(default_factory=set)
    """Columns that become dates or times."""
    aliases: set[str] = field(default_factory=set)
    """Names that the text gives to columns."""
    boundary: Boundary | None = None
    changing: bool = False
    """Something other than a function call depends on time, session or chance."""
    locks: bool = False
    """There is a FOR UPDATE, FOR SHARE … anywhere."""
    setters: list[Node] = field(default_factory=list)
    """Calls of set_config and setseed, as FuncCall fields."""

    @property
    def reads(self) -> bool:
        """It is a query that leaves no trace in any relation and locks no rows."""
        return self.kind is Kind.SELECT and not self.locks and not self.writes and not self.writes_unknown

    def add_executed(self, inner: Facts) -> None:
        """Take over what a statement inside this one does when it runs; whether and when it runs is not known."""
        self.relations |= inner.relations
        self.writes |= inner.writes
        self.writes_unknown |= inner.writes_unknown
        self.functions |= inner.functions
        self.fields |= inner.fields
        self.types |= inner.types
        self.dated |= inner.dated
        self.makes |= inner.makes
        self.settings += [
            SettingChange(SettingAction.SET, change.name, None, change.local, False) for change in inner.settings
        ]


def name_of(parts: list[Node]) -> Name:
    """A Name from a list of String nodes; a leading database name is dropped."""
    words: list[str] = [part["String"].get("sval", "") for part in parts]
    return (words[-2] if len(words) > 1 else None, words[-1])


def relation_name(fields: Node) -> Name:
    """The Name of RangeVar fields."""
    return (fields.get("schemaname"), fields["relname"])


def is_temporary(fields: Node) -> bool:
    """Whether RangeVar fields name a relation of this session only."""
    return fields.get("relpersistence") == "t" or in_temp_schema(fields.get("schemaname"))


def in_temp_schema(schema: str | None) -> bool:
    """pg_temp, or the schema behind it by its real name."""
    return schema is not None and (schema == "pg_temp" or schema.startswith("pg_temp_"))


def is_builtin(name: Name, word: str) -> bool:
    """Whether a Name can mean PostgreSQL's own function or relation of that name."""
    return name[1] == word and name[0] in (None, "pg_catalog")
