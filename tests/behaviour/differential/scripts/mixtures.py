"""What SQL and the protocol do to each other's statements within one request, and what a failed end leaves."""

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
)
from ..dsl import Script, ask, conversation, say

SELECT = parse("SELECT $1::int + 1", "s")


@conversation()
def deallocate_between_two_binds() -> Script:
    """In one request: a statement is made, run, deallocated by SQL, and is gone for what comes behind."""
    yield say(SELECT, bind(b"1", statement="s"), execute(), extended("DEALLOCATE s"), bind(b"2", statement="s"), sync())
    yield say(bind(b"3", statement="s"), execute(), sync())
    yield say(SELECT, bind(b"4", statement="s"), execute(), sync())


@conversation()
def deallocate_all_between_two_binds() -> Script:
    """The same with all of them, and a name that is made anew behind it."""
    yield say(SELECT, parse("SELECT 'other'", "t"), sync())
    yield say(
        bind(b"1", statement="s"),
        execute(),
        extended("DEALLOCATE ALL"),
        SELECT,
        bind(b"2", statement="s"),
        execute(),
        sync(),
    )
    yield say(bind(statement="t"), execute(), sync())
    yield say(bind(b"3", statement="s"), execute(), sync())


@conversation()
def discard_all_in_the_middle() -> Script:
    """DISCARD ALL is refused within a request that has more in it, and nothing is forgotten."""
    yield say(SELECT, bind(b"1", statement="s"), execute(), extended("DISCARD ALL"), sync())
    yield say(bind(b"2", statement="s"), execute(), sync())
    yield say(extended("DISCARD ALL"), sync())
    yield say(bind(b"3", statement="s"), execute(), sync())


@conversation()
def discard_plans_in_the_middle() -> Script:
    """DISCARD PLANS may stand anywhere, and forgets no name."""
    yield say(SELECT, bind(b"1", statement="s"), execute(), extended("DISCARD PLANS"), bind(b"2", statement="s"),
              execute(), sync())  # fmt: skip
    yield say(bind(b"3", statement="s"), execute(), sync())


@conversation(pins=True)
def describe_of_an_execute() -> Script:
    """Describe of `EXECUTE x` tells the columns of x, by statement and by portal, made in the same request or not."""
    yield say(
        extended("PREPARE x (int) AS SELECT id, name FROM products WHERE id = $1"),
        parse("EXECUTE x (3)", "e"),
        describe("e", b"S"),
        bind(statement="e"),
        describe(),
        execute(),
        sync(),
    )
    yield say(parse("EXECUTE x (4)"), describe(kind=b"S"), bind(), describe(), execute(), sync())
    yield say(extended("DEALLOCATE x"), bind(statement="e"), describe(), execute(), sync())
    yield say(extended("PREPARE x (int) AS SELECT 1"), bind(statement="e"), describe(), execute(), sync())
    yield ask("DEALLOCATE ALL")


@conversation(pins=True)
def prepare_of_a_name_that_parse_has() -> Script:
    """PREPARE of a name that Parse has taken fails, and the other way round; both in one request too."""
    yield say(SELECT, sync())
    yield ask("PREPARE s AS SELECT 1")
    yield say(extended("PREPARE s AS SELECT 1"), sync())
    yield say(bind(b"1", statement="s"), execute(), sync())
    yield say(extended("PREPARE p AS SELECT 1"), parse("SELECT 2", "p"), sync())
    yield ask("EXECUTE p")
    yield say(close("s"), extended("PREPARE s AS SELECT 5"), sync())
    yield say(bind(statement="s"), execute(), sync())
    yield ask("DEALLOCATE ALL")


@conversation(pins=True)
def write_by_bind_of_prepare(me: str) -> Script:
    """A write that SQL has prepared and Bind runs: the reads behind it see it, cached or not."""
    read = "/* @pgbeam:cache */ SELECT n FROM written_by_bind_" + me
    yield ask(f"CREATE TABLE written_by_bind_{me} AS SELECT 1 AS n")
    yield ask(read)
    yield ask(f"PREPARE w (int) AS UPDATE written_by_bind_{me} SET n = $1")
    yield ask(read)
    yield say(bind(b"7", statement="w"), execute(), sync())
    yield ask(read)
    yield say(bind(b"8", statement="w"), execute(), bind(b"9", statement="w"), execute(), sync())
    yield ask(read)
    yield ask("DEALLOCATE w")
    yield ask(f"DROP TABLE written_by_bind_{me}")


@conversation()
def copy_data_behind_syncs_with_bad_rows() -> Script:
    """Syncs among the data are passed over while it is copied, and count again behind a bad row."""
    start = extended("COPY categories (id, name) FROM STDIN")
    yield say(start, copy_data(b"300\ta\n"), sync(), copy_data(b"301\tb\n"), copy_done(), sync())
    yield say(start, copy_data(b"bad\n"), sync(), copy_data(b"302\tc\n"), copy_done(), sync(), times=2)
    yield say(start, copy_data(b"303\td\n"), sync(), copy_fail("no"), sync())
    yield ask("SELECT id FROM categories WHERE id >= 300 ORDER BY id")
    yield ask("DELETE FROM categories WHERE id >= 300")


@conversation()
def copy_in_one_write_with_more_behind() -> Script:
    """Parse, COPY, its data, its end and another statement in one write."""
    yield say(
        extended("COPY categories (id, name) FROM STDIN"),
        copy_data(b"310\ta\n"),
        copy_done(),
        extended("SELECT count(*) FROM categories WHERE id = 310"),
        sync(),
    )
    yield say(extended("DELETE FROM categories WHERE id = 310"), sync())
    yield say(
        query("COPY categories (id, name) FROM STDIN"), copy_data(b"bad\n"), copy_done(), query("SELECT 1"), times=2
    )


@conversation(masks=[r"two_phase_\w+"])
def prepare_transaction_of_a_failed_one(me: str) -> Script:
    """PREPARE TRANSACTION of a failed transaction is a ROLLBACK: what was SET in it is taken back."""
    yield ask("SET work_mem = '70kB'")
    yield ask("BEGIN; SET work_mem = '71kB'; SELECT 1/0")
    yield ask(f"PREPARE TRANSACTION 'two_phase_{me}'")
    yield ask("SHOW work_mem")
    yield ask("BEGIN; SET LOCAL work_mem = '72kB'")
    yield ask("SAVEPOINT s; SET work_mem = '73kB'; ROLLBACK TO s")
    yield ask("SHOW work_mem")
    yield say(extended("SELECT 1/0"), extended(f"PREPARE TRANSACTION 'two_phase_{me}'"), sync())
    yield say(extended(f"PREPARE TRANSACTION 'two_phase_{me}'"), sync())
    yield ask("SHOW work_mem")


@conversation()
def settings_that_there_are_not() -> Script:
    """Names that PostgreSQL refuses cost nobody a server."""
    yield ask('SET "1bad.name" = 1')
    yield ask("SET bad = 1")
    yield ask("SELECT set_config('bad', '1', false)")
    yield ask("SELECT 1")


@conversation()
def settings_reported_by_functions() -> Script:
    """What a function sets is reported as what SET sets, whoever asks for what in between."""
    yield ask("SELECT set_config('application_name', 'by a function', false)")
    yield ask("SHOW application_name")
    yield ask("SELECT set_config('DateStyle', 'German, DMY', false), set_config('TimeZone', 'Asia/Tokyo', false)")
    yield ask("SELECT '2026-02-01 00:00+00'::timestamptz")
    yield ask("BEGIN; SELECT set_config('IntervalStyle', 'iso_8601', true); SELECT interval '1 day'; ROLLBACK")
    yield ask("SELECT interval '1 day'")
    yield ask("SELECT set_config('client_encoding', 'LATIN1', false), 1/0")
    yield ask("SHOW client_encoding")
    yield ask("RESET ALL")
    yield say(extended("SELECT set_config('TimeZone', 'Asia/Tokyo', false)"), flush(), extended("SELECT 1"), sync())
