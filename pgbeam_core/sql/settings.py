"""SET, RESET and SHOW, and the functions that do the same."""

from __future__ import annotations

from functools import cache

import postgast

from pgbeam_core.api.statement import Kind, SettingAction, SettingChange
from pgbeam_core.sql.facts import Facts, in_temp_schema, name_of
from pgbeam_core.sql.tree import Node

_QUOTED_LISTS = frozenset(
    {"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries"}
    | {"temp_tablespaces", "unix_socket_directories"}
)
_TRUE = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE = frozenset({"f", "false", "n", "no", "off", "0"})
_PLAIN_QUERY = frozenset({"targetList", "limitOption", "op"})

UNKNOWN_SETTING = SettingChange(SettingAction.SET, "", None, literal=False)
"""Some setting changes, and the text does not say which."""


def set_statement(facts: Facts, fields: Node) -> None:
    """SET, SET LOCAL, SET TRANSACTION, RESET and their relatives."""
    kind = fields["kind"]
    facts.kind = Kind.RESET if kind in ("VAR_RESET", "VAR_RESET_ALL") else Kind.SET
    local = bool(fields.get("is_local"))
    if kind == "VAR_RESET_ALL":
        facts.settings.append(SettingChange(SettingAction.RESET, "all"))
    elif kind == "VAR_SET_MULTI":
        facts.settings += _several(fields)
    else:
        name = fields["name"].lower()
        action = SettingAction.RESET if kind == "VAR_RESET" else SettingAction.SET
        value = _flatten(name, fields["args"]) if kind == "VAR_SET_VALUE" else None
        literal = kind in ("VAR_RESET", "VAR_SET_DEFAULT") or value is not None
        facts.settings.append(SettingChange(action, name, value, local, literal))
    _notice_temp_path(facts)


def show_statement(facts: Facts, fields: Node) -> None:
    facts.kind = Kind.SHOW
    facts.settings.append(SettingChange(SettingAction.SHOW, fields["name"].lower()))


def settings_of_calls(facts: Facts, query: Node) -> None:
    """Turn the calls of set_config and setseed that the walk found into changes.

    Only the targets of a query that has nothing but targets certainly run, and once.
    """
    certain: set[int] = set()
    if query.keys() <= _PLAIN_QUERY:
        targets = [target["ResTarget"]["val"] for target in query.get("targetList", ())]
        certain = {id(value["FuncCall"]) for value in targets if "FuncCall" in value}
    for call in reversed(facts.setters):
        facts.settings.append(_change_by(call, id(call) in certain))
    _notice_temp_path(facts)


def _several(fields: Node) -> list[SettingChange]:
    """SET TRANSACTION …, SET SESSION CHARACTERISTICS AS TRANSACTION …: one change for each mode."""
    kind = fields["name"]
    if kind == "TRANSACTION SNAPSHOT":
        return [SettingChange(SettingAction.SET, "transaction_snapshot", _flatten("", fields["args"]), True)]
    session = kind == "SESSION CHARACTERISTICS"
    changes = []
    for mode in (item["DefElem"] for item in fields["args"]):
        name = f"default_{mode['defname']}" if session else mode["defname"]
        changes.append(SettingChange(SettingAction.SET, name, _flatten(name, [mode["arg"]]), not session))
    return changes


def _flatten(name: str, values: list[Node]) -> str | None:
    """The text that PostgreSQL makes of the values of a SET; None if only the server can tell."""
    texts = []
    for value in values:
        constant = value.get("A_Const")
        if constant is None:
            return None
        text = constant_text(constant)
        texts.append(quote_identifier(text) if name in _QUOTED_LISTS and "sval" in constant else text)
    return ", ".join(texts)


def constant_text(constant: Node) -> str:
    """The text of a constant that is not NULL: numbers as written, integers in decimal."""
    if "ival" in constant:
        return str(constant["ival"].get("ival", 0))
    if "fval" in constant:
        return str(constant["fval"]["fval"])
    if "boolval" in constant:
        return "true" if constant["boolval"] else "false"
    return str((constant.get("sval") or constant.get("bsval") or {}).get("sval", ""))


def quote_identifier(text: str) -> str:
    """As PostgreSQL's quote_identifier: bare when it reads back as itself and is no reserved word."""
    plain = text.isascii() and text.replace("_", "a").isalnum() and text == text.lower() and not text[0].isdigit()
    if plain and text not in _reserved():
        return text
    return '"' + text.replace('"', '""') + '"'


@cache
def _reserved() -> frozenset[str]:
    """The keywords that are no names, by PostgreSQL's scanner; to ask it for each name would cost too much."""
    words = {name.lower().removesuffix("_p") for name in postgast.pg_query_pb2.Token.DESCRIPTOR.values_by_name}
    text = " ".join(sorted(words))
    free = (postgast.pg_query_pb2.NO_KEYWORD, postgast.pg_query_pb2.UNRESERVED_KEYWORD)
    tokens = postgast.scan(text).tokens
    return frozenset(text[token.start : token.end] for token in tokens if token.keyword_kind not in free)


def _change_by(call: Node, certain: bool) -> SettingChange:
    arguments = [argument.get("A_Const") for argument in call.get("args", ())]
    if name_of(call["funcname"])[1] == "setseed":
        return SettingChange(SettingAction.SET, "seed", None, literal=False)
    if len(arguments) != 3 or arguments[0] is None or "sval" not in arguments[0]:
        return UNKNOWN_SETTING
    name = constant_text(arguments[0]).lower()
    local = _truth(arguments[2])
    if not certain or local is None or arguments[1] is None:
        return SettingChange(SettingAction.SET, name, None, bool(local), literal=False)
    value = None if "isnull" in arguments[1] else constant_text(arguments[1])
    return SettingChange(SettingAction.SET, name, value, local)


def _truth(constant: Node | None) -> bool | None:
    """What a constant means as a boolean, None if that is not certain."""
    if constant is None or "isnull" in constant:
        return None
    text = constant_text(constant).strip().lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _notice_temp_path(facts: Facts) -> None:
    """With pg_temp in the search path an ordinary CREATE TABLE may make a temporary one."""
    for change in facts.settings:
        words = (change.value or "").replace('"', "").replace(" ", "").split(",")
        if change.name == "search_path" and any(in_temp_schema(word) for word in words):
            facts.makes.add("temp_table")
