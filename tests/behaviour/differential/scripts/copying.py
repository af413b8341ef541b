"""COPY in both directions, by both protocols, with errors in the middle."""

from __future__ import annotations

from ...frames import bind, copy_data, copy_done, copy_fail, describe, execute, extended, flush, parse, query, sync
from ..dsl import Script, ask, conversation, read, say

IN = "COPY categories FROM STDIN"
CLEAN = "DELETE FROM categories WHERE id >= 200"


@conversation()
def copy_out() -> Script:
    """COPY TO STDOUT in text, csv and binary."""
    yield ask("COPY (SELECT id, name FROM categories ORDER BY id) TO STDOUT")
    yield ask("COPY categories TO STDOUT (FORMAT csv, HEADER)")
    yield ask("COPY categories TO STDOUT (FORMAT binary)")
    yield ask("COPY (SELECT WHERE false) TO STDOUT")


@conversation()
def copy_out_extended() -> Script:
    """COPY TO STDOUT by the extended protocol."""
    yield say(extended("COPY (SELECT generate_series(1, 5)) TO STDOUT"), sync())


@conversation()
def copy_out_error() -> Script:
    """An error after some copied rows comes after them."""
    yield ask("COPY (SELECT 10 / (5 - i) FROM generate_series(1, 10) i) TO STDOUT")
    yield ask("SELECT 1")


@conversation()
def copy_out_many() -> Script:
    """A long COPY arrives complete and in order."""
    yield ask("COPY (SELECT i, repeat('z', 50) FROM generate_series(1, 20000) i) TO STDOUT")


@conversation()
def copy_in() -> Script:
    """COPY FROM STDIN: the server asks, data goes in, the tag counts the rows."""
    yield say(query(IN), until=b"G")
    yield say(copy_data(b"200\tfirst\n201\tsec"), copy_data(b"ond\n"), copy_done())
    yield ask("SELECT * FROM categories WHERE id >= 200 ORDER BY id")
    yield ask(CLEAN)


@conversation()
def copy_in_unasked() -> Script:
    """A client may send the data right behind the query, without waiting for the server to ask."""
    yield say(query(IN), copy_data(b"202\tx\n"), copy_done())
    yield ask(CLEAN)


@conversation()
def copy_in_with_eof_marker() -> Script:
    """What follows the end-of-data marker is for the server to judge."""
    yield say(query(IN), until=b"G")
    yield say(copy_data(b"203\tx\n"), copy_data(b"\\.\n"), copy_done())
    yield ask(CLEAN)


@conversation()
def copy_in_nothing() -> Script:
    """COPY of no rows."""
    yield say(query(IN), copy_done())


@conversation()
def copy_in_fails() -> Script:
    """CopyFail ends it with the client's own words in the error."""
    yield say(query(IN), until=b"G")
    yield say(copy_data(b"204\tx\n"), copy_fail("changed my mind"))
    yield ask("SELECT count(*) FROM categories WHERE id = 204")


@conversation()
def copy_in_bad_data() -> Script:
    """A bad row in the middle is an error; data still on the way is swallowed; the session goes on."""
    yield say(query(IN), until=b"G")
    yield say(copy_data(b"205\tx\nnot a number\ty\n"), copy_data(b"206\tz\n") * 500, copy_done())
    yield ask("SELECT count(*) FROM categories WHERE id BETWEEN 205 AND 206")


@conversation()
def copy_in_bad_data_then_late_messages() -> Script:
    """After COPY has failed, late CopyData and CopyDone are ignored."""
    yield say(query(IN), until=b"G")
    yield say(copy_data(b"broken\n"))
    yield say(copy_data(b"207\tlate\n"), copy_done(), query("SELECT 'goes on'"))


@conversation()
def copy_in_interrupted_by_sync() -> Script:
    """Flush and Sync within simple COPY data are ignored."""
    yield say(query(IN), until=b"G")
    yield say(copy_data(b"208\ta\n"), flush(), sync(), copy_data(b"209\tb\n"), copy_done())
    yield ask(CLEAN)


@conversation()
def copy_in_interrupted_by_query() -> Script:
    """Another query within COPY data ends the COPY with an error, and what comes then is PostgreSQL's choice."""
    yield say(query(IN), until=b"G")
    yield say(copy_data(b"210\ta\n"), query("SELECT 1"), until=None)
    yield read(until=b"Z")
    yield ask("SELECT count(*) FROM categories WHERE id = 210")


@conversation()
def copy_in_extended() -> Script:
    """COPY FROM STDIN by the extended protocol, Sync after the data."""
    yield say(parse(IN), bind(), describe(), execute(), flush(), until=b"G")
    yield say(copy_data(b"211\tx\n"), copy_done(), sync())
    yield ask(CLEAN)


@conversation()
def copy_in_extended_sync_first() -> Script:
    """A Sync sent before the data is ignored by the COPY, as PostgreSQL ignores it."""
    yield say(extended(IN), sync(), until=b"G")
    yield say(copy_data(b"212\tx\n"), copy_done(), sync())
    yield ask(CLEAN)


@conversation()
def copy_in_extended_fails() -> Script:
    """CopyFail and bad data by the extended protocol skip to Sync."""
    yield say(extended(IN), flush(), until=b"G")
    yield say(copy_fail("no"), extended("SELECT 'skipped'"), sync())
    yield say(extended(IN), flush(), until=b"G")
    yield say(copy_data(b"x\ty\n"), copy_done(), extended("SELECT 'skipped'"), sync())
    yield say(extended("SELECT 'goes on'"), sync())


@conversation()
def copy_in_transaction() -> Script:
    """COPY inside a transaction that rolls back."""
    yield ask("BEGIN")
    yield say(query(IN), copy_data(b"213\tx\n"), copy_done())
    yield ask("SELECT count(*) FROM categories WHERE id = 213")
    yield ask("ROLLBACK")
    yield ask("SELECT count(*) FROM categories WHERE id = 213")


@conversation()
def copy_in_a_text_with_more() -> Script:
    """COPY between other statements of one text."""
    yield say(query(f"SELECT 1; {IN}; SELECT 2; {CLEAN}"), until=b"G")
    yield say(copy_data(b"214\tx\n"), copy_done())


@conversation()
def copy_twice_in_a_text() -> Script:
    """Two COPYs, in and out, in one text."""
    yield say(query(f"{IN}; COPY (SELECT 1) TO STDOUT; {IN}; {CLEAN}"), until=b"G")
    yield say(copy_data(b"215\tx\n"), copy_done(), until=b"G")
    yield say(copy_data(b"216\tx\n"), copy_done())


@conversation()
def copy_refused() -> Script:
    """COPY that is not allowed is an ordinary error."""
    yield ask("COPY nothing FROM STDIN")
    yield ask("COPY categories FROM '/etc/passwd'")
    yield ask("COPY categories (id, nope) FROM STDIN")


@conversation()
def copy_messages_out_of_place() -> Script:
    """CopyData, CopyDone and CopyFail outside a COPY are ignored."""
    yield say(copy_data(b"lost"), copy_done(), copy_fail("lost"), query("SELECT 1"))
    yield say(extended("SELECT 1"), copy_data(b"lost"), sync())
