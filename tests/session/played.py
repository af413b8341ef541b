"""A PostgreSQL that is played: it keeps statements, portals and transactions, and a text says what becomes of it."""

from __future__ import annotations

from pgbeam_core.wire import backend, frontend, names
from pgbeam_core.wire.frames import FrameCutter
from tests.session.stage import ONE, THREE, TWO, done, error

NOTICE = backend.notice_response("NOTICE", "00000", "by the way")
STATUS = backend.parameter_status("TimeZone", "Asia/Tokyo")
_STATUS_AFTER = {b"BEGIN": b"T", b"COMMIT": b"I", b"ROLLBACK": b"I"}
_EXITS = (b"COMMIT", b"ROLLBACK")
"""What a failed transaction takes."""


class Tables:
    """What all servers have in common."""

    def __init__(self) -> None:
        self.version = 0
        """Counts the times that somebody altered the table `changes`."""


class Played:
    """One connection. Words of a text that count: missing, fails, late, noisy, empty, wide, changes, RETURNING."""

    def __init__(self, tables: Tables) -> None:
        self.heard = b""
        self.executed: list[bytes] = []
        self._tables = tables
        self._cutter = FrameCutter()
        self._status = b"I"
        self._skipping = False
        self._statements: dict[bytes, tuple[bytes, int]] = {}
        self._portals: dict[bytes, bytes] = {}

    def hear(self, data: bytes) -> bytes:
        """Its reply to what PgBeam sent."""
        self.heard += data
        return b"".join(self._message(chr(frame[0]), frame) for frame in self._cutter.feed(data))

    def _message(self, tag: str, frame: bytes) -> bytes:
        if tag == "S":
            return self._ready()
        if tag == "Q":
            self._statements.pop(b"", None)
            return self._run(frontend.Query.from_bytes(frame).sql, described=True) + self._ready()
        if self._skipping or tag in "HX":
            return b""
        reply = getattr(self, _READERS[tag])(frame)
        assert isinstance(reply, bytes)
        return reply

    def _ready(self) -> bytes:
        self._skipping = False
        if self._status == b"I":
            self._portals.clear()
        return backend.ready_for_query(self._status)

    def _fail(self, sqlstate: str, message: str) -> bytes:
        self._skipping = True
        self._status = b"I" if self._status == b"I" else b"E"
        return error(sqlstate, message)

    def _parse(self, frame: bytes) -> bytes:
        parse = frontend.Parse.from_bytes(frame)
        if not parse.name:
            self._statements.pop(b"", None)
        if b"missing" in parse.sql:
            return self._fail("42703", 'column "missing" does not exist')
        if self._status == b"E" and parse.sql not in _EXITS:
            return self._fail("25P02", "current transaction is aborted")
        if parse.name in self._statements:
            return self._fail("42P05", f'prepared statement "{parse.name.decode()}" already exists')
        self._statements[parse.name] = parse.sql, self._tables.version
        return ONE

    def _bind(self, frame: bytes) -> bytes:
        bind = frontend.Bind.from_bytes(frame)
        self._portals.pop(bind.portal, None)
        if bind.statement not in self._statements:
            return self._fail("26000", f'prepared statement "{bind.statement.decode()}" does not exist')
        sql, version = self._statements[bind.statement]
        if b"changes" in sql and version != self._tables.version:
            return self._fail("0A000", "cached plan must not change result type")
        if b"unbindable" in sql:
            return self._fail("22P02", f'"{bind.statement.decode()}" takes no such value')
        self._portals[bind.portal] = sql
        return TWO

    def _describe(self, frame: bytes) -> bytes:
        kind, name = names.describe_target(frame)
        if kind == frontend.PORTAL:
            if name not in self._portals:
                return self._fail("34000", f'portal "{name.decode()}" does not exist')
            return self._columns(self._portals[name]) or backend.NO_DATA
        if name not in self._statements:
            return self._fail("26000", f'prepared statement "{name.decode()}" does not exist')
        columns = self._columns(self._statements[name][0]) or backend.NO_DATA
        return backend.ParameterDescription(()).to_bytes() + columns

    def _execute(self, frame: bytes) -> bytes:
        name, _ = names.execute_target(frame)
        if name not in self._portals:
            return self._fail("34000", f'portal "{name.decode()}" does not exist')
        sql, self._portals[name] = self._portals[name], b"SELECT a FROM empty"
        return self._run(sql, described=False)

    def _close(self, frame: bytes) -> bytes:
        kind, name = names.describe_target(frame)
        (self._portals.pop if kind == frontend.PORTAL else self._statements.pop)(name, None)
        return THREE

    def _columns(self, sql: bytes) -> bytes:
        if not sql.lstrip().startswith((b"SELECT", b"SHOW")) and b"RETURNING" not in sql:
            return b""
        names = ["a", "b"][: 1 + (b"changes" in sql and self._tables.version % 2)]
        return backend.row_description([(name, 25, -1) for name in names])

    def _run(self, sql: bytes, *, described: bool) -> bytes:
        self.executed.append(sql)
        word = sql.split()[0] if sql.split() else b""
        if not word:
            return backend.EMPTY_QUERY_RESPONSE
        if self._status == b"E" and word not in _EXITS:
            return self._fail("25P02", "current transaction is aborted")
        if b"missing" in sql or (b"fails" in sql and b"late" not in sql):
            return self._fail("22012", "division by zero")
        self._status = _STATUS_AFTER.get(word, self._status)
        if word == b"DISCARD":
            self._statements.clear()
        columns = self._columns(sql)
        if not columns:
            return done("INSERT 0 1" if word == b"INSERT" else word.decode())
        rows = [] if b"empty" in sql or b"pg_settings" in sql else [b"one", None, b"x" * (300 if b"wide" in sql else 3)]
        noise = NOTICE + STATUS if b"noisy" in sql else b""
        said = (columns if described else b"") + b"".join(backend.data_row([row]) + noise for row in rows)
        if b"fails" in sql:
            return said + self._fail("22012", "division by zero")
        return said + noise + done(f"INSERT 0 {len(rows)}" if word == b"INSERT" else f"SELECT {len(rows)}")


_READERS = {"P": "_parse", "B": "_bind", "D": "_describe", "E": "_execute", "C": "_close"}
