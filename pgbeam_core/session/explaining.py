"""What PgBeam would do with a statement, and why, without doing it: `/* @pgbeam:explain */ SELECT …`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pgbeam_core.api.query import Query
from pgbeam_core.api.results import Answer, Explanation
from pgbeam_core.api.statement import Annotation, Kind, Statement
from pgbeam_core.session.settings import is_role_set
from pgbeam_core.wire import backend

if TYPE_CHECKING:
    from pgbeam_core.firing import Hooks
    from pgbeam_core.session.conversation import Conversation
    from pgbeam_core.session.session import Session

ANNOTATION = "explain"
COLUMNS = ("what", "value", "why", "said_by")
DESCRIPTION = backend.row_description([(name, 25, -1) for name in COLUMNS])
_PARAMETER = re.compile(rb"\$([1-9][0-9]{0,4})")
_CORE = "pgbeam"


def is_explained(statement: Statement) -> bool:
    """Whether it is not to be executed, but explained."""
    return bool(statement.annotations) and statement.annotation(ANNOTATION) is not None


def parameters(statement: Statement) -> int:
    """How many parameters it seems to have."""
    return max((int(number) for number in _PARAMETER.findall(statement.text)), default=0)


def subject_of(statement: Statement) -> bytes:
    """The text that it is about: without the annotation, with the others that it has."""
    others = [_comment(each) for each in statement.annotations if each.name != ANNOTATION]
    return "".join(others).encode() + statement.text.strip()


def answer(conversation: Conversation, statement: Statement, bind: bytes | None, types: bytes) -> Answer:
    """The rows, for the session as it is now."""
    subject = conversation.runtime.statement(subject_of(statement))
    simple = bind is None
    query = conversation.requests.query(subject, simple=simple, answerable=True)
    if not simple:
        query.bound(bind, types, described=True)
    query.target = conversation.leasing.current_target()
    rows = explain(conversation.session, query, conversation.runtime.hooks, conversation)
    frames = b"".join(backend.data_row(row) for row in rows)
    return Answer(DESCRIPTION, frames, backend.command_complete("EXPLAIN"))


def explain(
    session: Session, query: Query, hooks: Hooks, conversation: Conversation | None = None
) -> list[tuple[str, str | None, str | None, str]]:
    """(what, value, why, said_by): what the core says, then what each plugin does."""
    found = [(*row, _CORE) for row in _core(session, query, conversation)]
    for plugin, rows in hooks.explain(session, query):
        for row in rows if isinstance(rows, list | tuple) else (rows,):
            if isinstance(row, Explanation):
                found.append((row.what, row.value, row.why, plugin))
            else:
                hooks.unfit("explain", plugin, row, "Explanations in a list or a tuple, or None")
    return found


def _core(session: Session, query: Query, conversation: Conversation | None) -> Iterator[Explanation]:
    statement = query.statement
    yield _class(statement)
    yield Explanation("shape", statement.query_hash, statement.shape)
    yield from _transaction(session, query, conversation)
    inside = query.in_transaction and not query.lazily
    if session.lease is not None and (inside or session.pins or session.keeps_server):
        yield Explanation("server", str(session.lease.server.pid), _keeps(session))
    target = query.target or session.project.primary
    yield Explanation("route", f"{target.role} {target.address}", _why_there(session, query))
    yield _shareable(session, query)
    yield _pins(session, statement)
    yield _cost(statement)


def _class(statement: Statement) -> Explanation:
    facts = []
    if statement.reads:
        facts.append("reads only, by its text")
    if statement.writes or statement.writes_unknown:
        names = ", ".join(sorted(name for _, name in statement.writes)) or "what its text does not name"
        facts.append(f"may change {names}")
    if statement.functions and statement.calls_unknown:
        facts.append("calls functions that are not built-in")
    if statement.kind is Kind.SELECT and not statement.stable:
        facts.append("depends on time, session or chance")
    if statement.kind is Kind.UNKNOWN:
        facts.append("not understood, so anything is assumed")
    return Explanation("class", str(statement.kind), "; ".join(facts) or None)


def _transaction(session: Session, query: Query, conversation: Conversation | None) -> Iterator[Explanation]:
    if query.statement.kind is Kind.BEGIN and not query.in_transaction:
        waits = session.project.lazy_transactions != "off" and session.project.pool_mode == "transaction"
        why = "kept back until a statement needs a server for it" if waits else "it goes to a server at once"
        yield Explanation("transaction", "begins", why)
    elif not query.in_transaction:
        yield Explanation("transaction", "none", "it is one by itself")
    elif conversation is None or not conversation.transaction.kept_back:
        yield Explanation("transaction", "real", "a server is in it already: it goes there")
    elif query.lazily:
        yield Explanation("transaction", "lazy", "a plain read at READ COMMITTED runs as if outside of it")
    else:
        word = conversation.transaction.reason([query])
        yield Explanation("transaction", "begins", f"it makes the transaction real on a server: {word}")
    if session.project.lazy_transactions == "off":
        yield Explanation("lazy_transactions", "off", "BEGIN goes to a server as it is sent")


def _keeps(session: Session) -> str:
    if session.keeps_server:
        return "session mode: the client has this server for its whole stay"
    if session.pins:
        return f"pinned: {', '.join(sorted(session.pins))}"
    return "its transaction is on this server"


def _why_there(session: Session, query: Query) -> str:
    if not session.project.replicas:
        return "the project has no replicas"
    if query.in_transaction and not query.lazily:
        return "a transaction stays where it is"
    return "unless a plugin says otherwise, below"


def _shareable(session: Session, query: Query) -> Explanation:
    statement, reason = query.statement, None
    if not statement.shareable:
        reason = "only a plain read whose rows depend on nothing but tables and settings may stand behind others'"
    elif session.keeps_server:
        reason = "the client has a server of its own"
    elif not query.answerable:
        reason = "its transaction is real, or it is not alone in its request"
    elif session.settings.unknown:
        reason = "nobody knows all settings of this session"
    elif is_role_set(session.settings.now):
        reason = "the session has set a role"
    elif not statement._cost.small:
        reason = "it has not proved short and small often enough"
    if reason is not None:
        return Explanation("shareable", "no", reason)
    return Explanation("shareable", "yes", "it may stand behind other clients' short reads on one server")


def _pins(session: Session, statement: Statement) -> Explanation:
    makes = sorted(statement.makes - {"function", "unknown"})
    if makes:
        return Explanation("pin", ", ".join(makes), "what it leaves on the server keeps that server for the session")
    if statement.makes:
        return Explanation("pin", "perhaps", "only the server can tell what it has left behind, and is asked")
    return Explanation("pin", ", ".join(sorted(session.pins)) or "none", None)


def _cost(statement: Statement) -> Explanation:
    known, seconds, size = statement._cost.known
    if not known:
        return Explanation("cost", None, "nothing of this shape was executed on a server and measured so far")
    return Explanation("cost", f"{seconds * 1000:.3f} ms", f"of late, on a server; largest reply about {size} bytes")


def _comment(annotation: Annotation) -> str:
    words: list[Any] = [name if value is None else f"{name}={value}" for name, value in annotation.parameters.items()]
    return f"/* @pgbeam:{' '.join([annotation.name, *words])} */ "
