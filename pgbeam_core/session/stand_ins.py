"""What stands for a statement on a server that lacks it and is in a failed transaction, where it would parse nothing
but what ends that: an empty text with the parameters of the statement. Bind finds the same wrong with it, and Describe
the same parameters and no columns.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

from pgbeam_core.api.statement import Kind, Statement
from pgbeam_core.session.extended import BIND, Step
from pgbeam_core.session.prepared import Prepared, ServerStatements
from pgbeam_core.session.steps import Owed
from pgbeam_core.wire import names
from pgbeam_core.wire.large import HEAD_BYTES

_COUNT = Struct("!H")
_ANY_TYPE = (25).to_bytes(4)
"""Which it is makes no difference: in a failed transaction no value is looked at."""
_UNTYPED = bytes(4)
_MOST = 0xFFFF
"""Parameters that a message can count."""
_PARAMETER = re.compile(rb"\$(\d{1,5})")

ENDS_FAILURE: Final = frozenset({Kind.COMMIT, Kind.ROLLBACK, Kind.ROLLBACK_TO, Kind.TWO_PHASE})
"""What PostgreSQL parses and does in a failed transaction; after that it is a failed one no more."""
_PARSED = ENDS_FAILURE | {Kind.EMPTY, Kind.MULTI, Kind.UNKNOWN}
"""For these the server had better say what is wrong."""
_WRITES = frozenset({Kind.INSERT, Kind.UPDATE, Kind.DELETE, Kind.MERGE})
_MAY_GIVE_ROWS = frozenset({Kind.SELECT, Kind.SHOW, Kind.EXPLAIN, Kind.EXECUTE, Kind.CALL})
"""FETCH does only where its cursor was there when it was parsed: then the server has it."""
_COUNTS_PARAMETERS = _WRITES | {Kind.SELECT, Kind.DECLARE}
"""What PostgreSQL analyses when it parses it, and so knows all parameters of."""
_EMPTY = Statement(b"", Kind.EMPTY)


def types_for(step: Step, prepared: Prepared) -> bytes | None:
    """The type section of a Parse that stands for it ahead of that Bind or Describe; None if its own is to be sent.

    A statement that has columns PostgreSQL does not describe, in the words that it has for a Parse.
    """
    if prepared.rest or prepared.statement.kind in _PARSED or len(step.frame) >= HEAD_BYTES:
        return None
    if step.tag == BIND:
        return _types(prepared) or _counted(prepared) or _as_many(step.frame)
    return None if _may_have_columns(prepared) else _types(prepared)


def parse(statements: ServerStatements, types: bytes) -> tuple[bytes, bytes, Owed]:
    """A Parse of one that is to be closed when it has been used: (its name, the message, what is owed for it)."""
    name = statements.new_name()

    def parsed(ok: bool) -> None:
        if ok:
            statements.stale.append(name)

    return name, Prepared(name, _EMPTY, types).parse_frame(name), Owed(b"1", forward=False, effect=parsed)


def _may_have_columns(prepared: Prepared) -> bool:
    if prepared.description is not None:
        return prepared.description[:1] == b"T"
    kind = prepared.statement.kind
    return kind in _MAY_GIVE_ROWS or (kind in _WRITES and b"returning" in prepared.statement.text.lower())


def _types(prepared: Prepared) -> bytes | None:
    """What a Parse says of its parameters: as the server has told, or as the client has; None if nobody knows."""
    if prepared.parameter_description is not None:
        return prepared.parameter_description[5:]
    text, types = prepared.key
    declared = _COUNT.unpack_from(types)[0]
    if any(types[at : at + 4] == _UNTYPED for at in range(2, 2 + 4 * declared, 4)):
        return None
    most = max((int(number) for number in _PARAMETER.findall(text)), default=0)
    return types if most <= declared else None


def _counted(prepared: Prepared) -> bytes | None:
    """As many parameters as its text has, outside of strings and comments, or as its Parse has declared."""
    if prepared.statement.kind not in _COUNTS_PARAMETERS:
        return None
    count = max(_COUNT.unpack_from(prepared.key[1])[0], prepared.statement.highest_parameter)
    return _COUNT.pack(count) + _ANY_TYPE * count if count <= _MOST else None


def _as_many(bind: bytes) -> bytes:
    """As many parameters as it binds. One that is cut off is the server's to refuse, whatever it stands beside."""
    count = names.value_count(bind)
    return _COUNT.pack(count) + _ANY_TYPE * count
