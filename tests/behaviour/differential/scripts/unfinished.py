"""Requests that stop before Sync, and COPY data that are sent without waiting."""

from __future__ import annotations

from ...frames import (
    bind,
    close,
    copy_data,
    copy_done,
    copy_fail,
    describe,
    execute,
    extended,
    flush,
    parse,
    query,
    sync,
    terminate,
)
from ..dsl import HangUp, Quiet, Script, ask, conversation, say

IN = "COPY categories FROM STDIN"
CLEAN = "DELETE FROM categories WHERE id >= 200"
ROW = copy_data(b"210\tx\n")


def copied(data: bytes, **names: str) -> bytes:
    """A COPY by the extended protocol and what is sent behind it in the same write."""
    return extended(IN, **names) + data


@conversation()
def told_of_a_bad_parse() -> Script:
    """A syntax error is told though no Sync was sent."""
    yield say(parse("SELEC 1"), until=b"E")
    yield Quiet(0.1)
    yield say(sync())


@conversation()
def told_of_a_bad_bind() -> Script:
    """So is an error of Bind, with all that came before it."""
    yield say(parse("SELECT $1::int"), bind(b"x"), describe(), execute(), until=b"E")
    yield say(sync())
    yield ask("SELECT 1")


@conversation()
def told_of_a_failed_execute() -> Script:
    """And an error of Execute, behind the rows before it."""
    yield say(extended("SELECT 10 / (3 - i) FROM generate_series(1, 5) i"), until=b"E")
    yield say(extended("SELECT 'skipped'"), sync())


@conversation()
def told_of_a_missing_portal() -> Script:
    """Execute of a portal that is not there."""
    yield say(execute("nowhere"), until=b"E")
    yield say(sync())


@conversation()
def told_of_a_missing_statement() -> Script:
    """Describe of a statement that is not there."""
    yield say(describe("nothing", b"S"), until=b"E")
    yield say(sync())


@conversation()
def told_in_a_transaction() -> Script:
    """In a transaction block, which has failed then."""
    yield ask("BEGIN")
    yield say(parse("SELECT nothing"), until=b"E")
    yield say(sync())
    yield ask("SELECT 1")
    yield ask("ROLLBACK")


@conversation()
def told_of_a_notice() -> Script:
    """A warning is told at once too."""
    yield say(extended("SET LOCAL work_mem = '5MB'"), until=b"N")
    yield say(sync())


@conversation()
def told_of_many_rows() -> Script:
    """What fills the server's buffer comes without a Flush."""
    yield say(extended("SELECT repeat('x', 1000) FROM generate_series(1, 40)"), until=20)
    yield say(sync())


@conversation()
def begun_without_a_word() -> Script:
    """A request that goes well says nothing before Sync or Flush."""
    yield say(parse("SELECT 1"), bind(), execute(), until=None)
    yield Quiet(0.1)
    yield say(sync())


@conversation()
def begun_and_flushed_later() -> Script:
    """Flush comes after a pause."""
    yield say(parse("SELECT 1"), bind(), until=None)
    yield Quiet(0.05)
    yield say(execute(), flush(), until=b"C")
    yield Quiet(0.05)
    yield say(sync())


@conversation()
def begun_in_pieces() -> Script:
    """Each message after a pause."""
    for message in (parse("SELECT 1"), bind(), describe(), execute()):
        yield say(message, until=None)
        yield Quiet(0.03)
    yield say(sync())
    yield ask("SELECT 2")


@conversation()
def begun_with_a_name() -> Script:
    """A named statement is made before the Sync that ends its request."""
    yield say(parse("SELECT $1::text", "mine"), until=None)
    yield Quiet(0.05)
    yield say(bind(b"a", statement="mine"), execute(), sync())
    yield say(parse("SELECT 1", "mine"), until=b"E")
    yield say(sync())
    yield say(close("mine"), sync())


@conversation(interleaves=False)
def begun_and_ended_by_a_query() -> Script:
    """A Query after a pause ends the request."""
    yield say(parse("SELECT 1"), bind(), execute(), until=None)
    yield Quiet(0.05)
    yield ask("SELECT 2")
    yield ask("SELECT 3")


@conversation()
def begun_and_left() -> Script:
    """A client that leaves before Sync has changed nothing."""
    yield say(extended("INSERT INTO categories VALUES (211, 'never')"), until=None)
    yield Quiet(0.05)
    yield HangUp(terminate())


@conversation()
def error_then_more_without_sync() -> Script:
    """All that comes behind an error is passed over, in as many pieces as it likes."""
    yield say(parse("SELEC"), until=b"E")
    yield say(bind(), until=None)
    yield say(execute(), flush(), until=None)
    yield Quiet(0.1)
    yield say(extended("SELECT 1"), until=None)
    yield say(sync())


@conversation()
def copy_in_one_write() -> Script:
    """Parse, Bind, Describe, Execute, the data, CopyDone and Sync at once."""
    yield say(copied(ROW + copy_done() + sync()))
    yield ask("SELECT * FROM categories WHERE id >= 200")
    yield ask(CLEAN)


@conversation()
def copy_in_one_write_by_bytes() -> Script:
    """The same, a few bytes at a time."""
    yield say(copied(ROW + copy_done() + sync()), chunk=7)
    yield ask(CLEAN)


@conversation()
def copy_in_one_write_with_a_name() -> Script:
    """The same, twice, by a named statement."""
    yield say(copied(ROW + copy_done() + sync(), name="cp"))
    yield ask(CLEAN)
    yield say(bind(statement="cp"), execute(), ROW, copy_done(), sync())
    yield ask(CLEAN)


@conversation()
def copy_in_one_write_fails() -> Script:
    """CopyFail in the same write."""
    yield say(copied(ROW + copy_fail("no more") + sync()))
    yield ask("SELECT count(*) FROM categories WHERE id >= 200")


@conversation()
def copy_in_one_write_bad_data() -> Script:
    """A bad row in the same write."""
    yield say(copied(copy_data(b"x\ty\tz\n") + ROW + copy_done() + sync()))
    yield ask("SELECT count(*) FROM categories WHERE id >= 200")


@conversation()
def copy_in_one_write_no_table() -> Script:
    """The table is not there: the data mean nothing."""
    yield say(extended("COPY nothing FROM STDIN"), ROW, copy_done(), sync())
    yield ask("SELECT 1")


@conversation()
def copy_in_one_write_bad_text() -> Script:
    """The text is no SQL: likewise."""
    yield say(extended("COPY FROM"), ROW, copy_done(), sync())
    yield ask("SELECT 1")


@conversation()
def copy_in_one_write_no_values() -> Script:
    """Bind fails: likewise."""
    yield say(parse(IN), bind(b"1"), execute(), ROW, copy_done(), sync())
    yield ask("SELECT 1")


@conversation()
def copy_data_behind_a_select() -> Script:
    """The Execute was no COPY: its data are ignored."""
    yield say(extended("SELECT 1"), ROW, copy_done(), sync())
    yield say(extended("SELECT 2"), ROW, copy_fail("why"), extended("SELECT 3"), sync())


@conversation()
def copy_data_behind_an_empty_text() -> Script:
    """Nor is an empty text."""
    yield say(extended(""), ROW, copy_done(), sync())


@conversation()
def copy_data_behind_a_portal_in_parts() -> Script:
    """Nor a portal that is read in parts."""
    yield ask("BEGIN")
    yield say(parse("SELECT generate_series(1, 3)"), bind(portal="p"), execute("p", 1), ROW, execute("p", 1), sync())
    yield say(execute("p", 0), copy_done(), sync())
    yield ask("COMMIT")


@conversation()
def copy_data_alone() -> Script:
    """Data that nobody asked for, with and without a Sync."""
    yield say(ROW, copy_done(), copy_fail("x"), until=None)
    yield Quiet(0.05)
    yield say(ROW, sync())
    yield ask("SELECT 1")


@conversation()
def copy_in_a_pipeline() -> Script:
    """Between other statements of one request."""
    yield say(extended("SELECT 1"), copied(ROW + copy_done()), extended("SELECT 2"), sync())
    yield ask(CLEAN)


@conversation()
def copies_in_a_pipeline() -> Script:
    """Two COPYs with their data in one request."""
    second = copy_data(b"212\ty\n")
    yield say(copied(ROW + copy_done()), copied(second + copy_done()), sync())
    yield ask("SELECT id FROM categories WHERE id >= 200 ORDER BY id")
    yield ask(CLEAN)


@conversation()
def copies_in_a_pipeline_first_fails() -> Script:
    """The first one fails: the second is passed over with its data."""
    yield say(copied(copy_fail("first")), copied(ROW + copy_done()), sync())
    yield ask("SELECT id FROM categories WHERE id >= 200 ORDER BY id")


@conversation()
def copy_sync_before_the_data() -> Script:
    """A Sync right behind Execute is swallowed; one at the end is not."""
    yield say(extended(IN), sync(), until=b"G")
    yield say(ROW, copy_done(), sync())
    yield ask(CLEAN)


@conversation()
def copy_sync_before_the_data_in_one_write() -> Script:
    """The same at once."""
    yield say(extended(IN), sync(), ROW, copy_done(), sync())
    yield ask(CLEAN)


@conversation()
def copy_sync_before_the_end() -> Script:
    """A Sync among the data means nothing."""
    yield say(extended(IN), ROW, sync(), copy_done(), sync())
    yield ask(CLEAN)


@conversation(interleaves=False)
def copy_flushes_among_data() -> Script:
    """Nor does a Flush."""
    yield say(extended(IN), flush(), until=b"G")
    yield say(ROW, flush(), copy_data(b"213\tz\n"), flush(), copy_done(), flush(), until=b"C")
    yield say(sync())
    yield ask(CLEAN)


@conversation(interleaves=False)
def copy_without_sync() -> Script:
    """Its end is told with a Flush; the Sync comes later."""
    yield say(extended(IN), ROW, copy_done(), flush(), until=b"C")
    yield Quiet(0.05)
    yield say(sync())
    yield ask(CLEAN)


@conversation()
def copy_asked_for_without_flush() -> Script:
    """That data are wanted is told without a Flush."""
    yield say(extended(IN), until=b"G")
    yield say(ROW, copy_done(), sync())
    yield ask(CLEAN)


@conversation()
def copy_interrupted_by_parse() -> Script:
    """A message of the extended protocol ends the COPY with an error."""
    yield say(extended(IN), until=b"G")
    yield say(ROW, parse("SELECT 1"), sync())
    yield ask("SELECT count(*) FROM categories WHERE id >= 200")


@conversation()
def copy_simple_interrupted_by_query() -> Script:
    """A Query in the middle of a COPY of the simple protocol."""
    yield say(query(IN), until=b"G")
    yield say(ROW, query("SELECT 1"))
    yield ask("SELECT 2")


@conversation()
def copy_simple_in_one_write() -> Script:
    """By the simple protocol, two COPYs in one text, with all data."""
    yield say(query(f"{IN}; {IN}"), ROW, copy_done(), copy_data(b"214\ty\n"), copy_done())
    yield ask(CLEAN)


@conversation()
def copy_simple_in_one_write_and_on() -> Script:
    """And a further query behind the data."""
    yield say(query(IN), ROW, copy_done(), query("SELECT 1"), times=2)
    yield ask(CLEAN)


@conversation()
def copy_simple_no_table_and_on() -> Script:
    """It fails, its data are ignored, the query behind them is not."""
    yield say(query("COPY nothing FROM STDIN"), ROW, copy_done(), query("SELECT 1"), times=2)


@conversation()
def copy_in_a_transaction_in_one_write() -> Script:
    """In a block that is rolled back, in one write."""
    yield say(query("BEGIN"), copied(ROW + copy_done() + sync()), times=2)
    yield ask("SELECT count(*) FROM categories WHERE id >= 200")
    yield ask("ROLLBACK")
    yield ask("SELECT count(*) FROM categories WHERE id >= 200")


@conversation()
def copy_out_then_data() -> Script:
    """COPY TO STDOUT wants no data: they are ignored."""
    yield say(extended("COPY (SELECT 1) TO STDOUT"), ROW, copy_done(), sync())


@conversation()
def copy_many_in_one_write() -> Script:
    """A megabyte of data without waiting."""
    data = b"".join(copy_data(b"%d\t%s\n" % (300 + number, b"y" * 100)) for number in range(8000))
    yield say(copied(data + copy_done() + sync()))
    yield ask("SELECT count(*), sum(length(name)) FROM categories WHERE id >= 300")
    yield ask(CLEAN)


@conversation()
def query_behind_an_unfinished_request_in_a_block() -> Script:
    """What a Query writes behind a Flush is taken back with its block; savepoints hold."""
    yield ask("BEGIN")
    yield ask("SAVEPOINT s")
    yield say(parse("SELECT 1", "n"), describe("n", b"S"), flush(), until=b"T")
    yield ask("INSERT INTO categories VALUES (230, 'x')")
    yield ask("ROLLBACK TO s")
    yield ask("SELECT count(*) FROM categories WHERE id = 230")
    yield say(parse("SELECT 2"), flush(), until=b"1")
    yield ask("INSERT INTO categories VALUES (231, 'x')")
    yield ask("ROLLBACK")
    yield ask("SELECT count(*) FROM categories WHERE id IN (230, 231)")
    yield say(close("n"), sync())
