"""Several requests under way at once."""

from __future__ import annotations

from ...frames import bind, close, describe, execute, extended, flush, parse, query, sync
from ..dsl import Script, ask, conversation, read, say


@conversation()
def pipeline_of_syncs() -> Script:
    """Many requests, each with its Sync, answer in order."""
    yield say(*[extended("SELECT $1::int", str(n).encode()) + sync() for n in range(20)], times=20)


@conversation()
def pipeline_with_errors() -> Script:
    """An error skips to its own Sync; the requests before and after are not touched."""
    good, bad = extended("SELECT 'good'") + sync(), extended("SELECT 1/0") + sync()
    yield say(good, bad, good, bad, bad, good, times=6)


@conversation()
def pipeline_error_in_the_middle_of_a_request() -> Script:
    """Within one Sync, the answers before the error come, the ones after do not."""
    yield say(
        extended("SELECT 1"),
        extended("SELECT 2"),
        extended("SELECT 1/0"),
        extended("SELECT 4"),
        sync(),
        sync(),
        times=2,
    )


@conversation()
def pipeline_prepare_error_then_reuse() -> Script:
    """Using a statement whose Parse failed earlier in the pipeline is an error of its own."""
    yield say(
        parse("SELEC", "broken") + sync(), bind(statement="broken") + execute() + sync(), query("SELECT 1"), times=3
    )


@conversation()
def pipeline_parse_skipped_by_error() -> Script:
    """A Parse skipped because of an earlier error did not happen."""
    yield say(extended("SELECT 1/0"), parse("SELECT 1", "skipped"), sync())
    yield say(bind(statement="skipped"), execute(), sync())
    yield say(parse("SELECT 1", "skipped"), bind(statement="skipped"), execute(), sync())
    yield say(close("skipped"), sync())


@conversation()
def pipeline_close_skipped_by_error() -> Script:
    """A Close skipped because of an earlier error did not happen either."""
    yield say(parse("SELECT 'still here'", "kept"), sync())
    yield say(extended("SELECT 1/0"), close("kept"), sync())
    yield say(bind(statement="kept"), execute(), sync())
    yield say(close("kept"), sync())


@conversation()
def pipeline_transaction() -> Script:
    """A whole transaction in one packet."""
    steps = ["BEGIN", "INSERT INTO categories VALUES (86, 'p')", "SELECT count(*) FROM categories", "ROLLBACK"]
    yield say(*[extended(text) + sync() for text in steps], times=4)


@conversation()
def pipeline_transaction_with_error() -> Script:
    """An error in a pipelined transaction fails the rest of it, up to its ROLLBACK."""
    steps = ["BEGIN", "SELECT 1/0", "SELECT 1", "COMMIT", "SELECT 'after'"]
    yield say(*[extended(text) + sync() for text in steps], times=5)


@conversation()
def pipeline_begin_and_more_in_one_sync() -> Script:
    """BEGIN, work and COMMIT before a single Sync."""
    yield say(
        extended("BEGIN"), extended("SELECT count(*) FROM users"), extended("COMMIT"), extended("SELECT 2"), sync()
    )


@conversation()
def pipeline_leaves_transaction_open() -> Script:
    """BEGIN within a pipeline keeps the transaction over the Sync."""
    yield say(extended("BEGIN"), extended("SELECT 1"), sync())
    yield ask("SELECT now() = statement_timestamp() OR true")
    yield say(extended("ROLLBACK"), sync())


@conversation()
def pipeline_simple_and_extended_mixed() -> Script:
    """Simple and extended requests may stand in one pipeline."""
    yield say(
        query("SELECT 1"),
        extended("SELECT 2"),
        sync(),
        query("SELECT 1/0; SELECT 3"),
        extended("SELECT 4"),
        sync(),
        times=4,
    )


@conversation(pins=True)
def pipeline_with_notices() -> Script:
    """Notices stand exactly where they were raised."""
    raising = "DO $$ BEGIN RAISE NOTICE 'here'; RAISE WARNING 'and here'; END $$"
    yield say(extended("SELECT 1"), extended(raising), extended("SELECT 2"), sync(), query(raising), times=2)


@conversation()
def pipeline_flushes_without_sync() -> Script:
    """Several Flushes, one Sync at the end."""
    yield say(extended("SELECT 1"), flush(), extended("SELECT 2"), flush(), until=b"C", times=2)
    yield say(extended("SELECT 3"), flush(), until=b"C")
    yield say(sync())


@conversation()
def pipeline_read_later() -> Script:
    """A client may send three times before it reads anything."""
    for number in range(3):
        yield say(extended("SELECT repeat('x', 10000), $1::int", str(number).encode()), sync(), until=None)
    yield read(times=3)


@conversation()
def pipeline_named_portals() -> Script:
    """Two portals of one statement run side by side within a request."""
    yield say(
        parse("SELECT i * $1::int FROM generate_series(1, 4) i", "s"),
        bind(b"1", statement="s", portal="p1"),
        bind(b"10", statement="s", portal="p2"),
        execute("p1", 2),
        execute("p2", 2),
        describe("p2"),
        execute("p1"),
        execute("p2"),
        close("p1", b"P"),
        sync(),
    )
    yield say(close("s"), sync())


@conversation()
def pipeline_prepared_many_times() -> Script:
    """One Parse, many Binds, each with its Sync."""
    yield say(parse("SELECT name FROM products WHERE id = $1", "many"), sync())
    yield say(*[bind(str(n).encode(), statement="many") + describe() + execute() + sync() for n in range(30)], times=30)
    yield say(close("many"), sync())


@conversation()
def pipeline_long() -> Script:
    """A thousand requests sent without reading do not deadlock and answer in order."""
    text = "SELECT $1::int, repeat('y', 100)"
    yield say(*[extended(text, str(n).encode()) + sync() for n in range(1000)], times=1000)
