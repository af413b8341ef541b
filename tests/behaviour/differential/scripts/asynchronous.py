"""What comes without being asked: notices, notifications, cancellations, timeouts, the end of the server."""

from __future__ import annotations

from ...frames import execute, extended, flush, query, sync
from ..dsl import Cancel, Elsewhere, Quiet, Script, Working, ask, conversation, read, say


@conversation(pins=True, masks=(r"process \d+",))
def notices_in_place() -> Script:
    """Notices of every level stand where they were raised, with their fields."""
    yield ask("SET client_min_messages = debug1")
    yield ask("DO $$ BEGIN RAISE INFO 'i'; RAISE LOG 'l'; RAISE DEBUG 'd'; RAISE NOTICE 'n' USING HINT = 'h'; END $$")
    yield ask("RESET client_min_messages")
    yield ask("DO $$ BEGIN RAISE LOG 'l'; RAISE DEBUG 'd'; RAISE WARNING 'w' USING ERRCODE = '01234'; END $$")


@conversation()
def notices_among_rows() -> Script:
    """A notice raised by a function in the middle of a result stands between its rows."""
    yield ask(
        "CREATE OR REPLACE FUNCTION loud(n int) RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE NOTICE 'row %', n; RETURN n; END $$"
    )
    yield ask("SELECT loud(i) FROM generate_series(1, 3) i")
    yield say(extended("SELECT loud(i) FROM generate_series(1, 3) i"), sync())


@conversation(pins=True, interleaves=False)
def notify_myself() -> Script:
    """A session that listens hears its own notification, after the command and before ready."""
    yield ask("LISTEN news")
    yield ask("NOTIFY news, 'payload'")
    yield ask("SELECT pg_notify('news', 'by function')")
    yield ask("UNLISTEN news")
    yield ask("NOTIFY news")
    yield Quiet()


@conversation(pins=True, interleaves=False)
def notify_while_idle() -> Script:
    """A notification from elsewhere arrives while the session does nothing."""
    yield ask("LISTEN idle_news")
    yield Elsewhere("NOTIFY idle_news, 'while idle'")
    yield read(until=1)
    yield Elsewhere("NOTIFY other_news, 'not for us'")
    yield Quiet()
    yield ask("UNLISTEN *")


@conversation(pins=True, interleaves=False)
def notify_in_a_transaction() -> Script:
    """Within a transaction notifications wait for its end, one's own and others'."""
    yield ask("LISTEN later")
    yield ask("BEGIN")
    yield ask("NOTIFY later, 'own'; NOTIFY later, 'own'")
    yield Elsewhere("NOTIFY later, 'from elsewhere'")
    yield ask("SELECT 1")
    yield ask("ROLLBACK")
    yield Quiet()
    yield ask("BEGIN; NOTIFY later, 'kept'; COMMIT")
    yield ask("UNLISTEN *")


@conversation(pins=True, interleaves=False)
def listen_rolled_back() -> Script:
    """LISTEN in a transaction that rolls back never was."""
    yield ask("BEGIN; LISTEN never")
    yield ask("ROLLBACK")
    yield Elsewhere("NOTIFY never")
    yield Quiet()
    yield ask("SELECT count(*) FROM pg_listening_channels()")


@conversation(pins=True, interleaves=False)
def unlisten_and_discard() -> Script:
    """UNLISTEN * and DISCARD ALL end all listening."""
    yield ask("LISTEN one; LISTEN two")
    yield ask("SELECT count(*) FROM pg_listening_channels()")
    yield ask("UNLISTEN one")
    yield ask("SELECT * FROM pg_listening_channels()")
    yield ask("DISCARD ALL")
    yield Elsewhere("NOTIFY two")
    yield Quiet()
    yield ask("SELECT count(*) FROM pg_listening_channels()")


@conversation()
def cancel_a_simple_query() -> Script:
    """A cancel ends the running query with 57014, and the session goes on."""
    yield say(query("SELECT pg_sleep(30) /* cancel me */"), until=None)
    yield Working("/* cancel me */")
    yield Cancel()
    yield read()
    yield ask("SELECT 'alive'")


@conversation()
def cancel_an_extended_query() -> Script:
    """A cancel of a query sent with others skips to Sync; the request behind it is answered."""
    # The request behind is an empty one, which nothing can cancel: PostgreSQL 15 signals the process and its group, and
    # the second signal ends the next query if that has begun by then.
    yield say(extended("SELECT pg_sleep(30) /* cancel extended */"), sync(), query(""), until=None)
    yield Working("/* cancel extended */")
    yield Cancel()
    yield read(times=2)
    yield ask("SELECT 'next'")


@conversation()
def cancel_in_a_transaction() -> Script:
    """A cancel within a transaction leaves it failed, not gone."""
    yield ask("BEGIN")
    yield say(query("SELECT pg_sleep(30) /* cancel tx */"), until=None)
    yield Working("/* cancel tx */")
    yield Cancel()
    yield read()
    yield ask("SELECT 1")
    yield ask("ROLLBACK")


@conversation()
def cancel_while_idle() -> Script:
    """A cancel that comes when nothing runs does nothing, now or later."""
    yield ask("SELECT 1")
    yield Cancel()
    yield Quiet(0.1)
    yield ask("SELECT pg_sleep(0.1)")
    yield ask("SELECT 2")


@conversation()
def statement_timeout_error() -> Script:
    """statement_timeout set by the session ends its query with 57014 and PostgreSQL's words."""
    yield ask("SET statement_timeout = 50")
    yield ask("SELECT pg_sleep(10)")
    yield say(extended("SELECT pg_sleep(10)"), sync())
    yield ask("RESET statement_timeout")
    yield ask("SELECT pg_sleep(0.1)")


@conversation()
def statement_timeout_local() -> Script:
    """SET LOCAL statement_timeout is over with its transaction."""
    yield ask("BEGIN; SET LOCAL statement_timeout = 50")
    yield ask("SELECT pg_sleep(10)")
    yield ask("ROLLBACK")
    yield ask("SELECT pg_sleep(0.1)")


@conversation()
def server_ends_in_a_transaction() -> Script:
    """A backend killed while its session is in a transaction: FATAL 57P01, then the connection closes."""
    yield ask("BEGIN; SELECT 1")
    yield Elsewhere(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND usename = 'app'"
    )
    yield read(until=1)
    yield read(until=1)


@conversation(goes_on=True)
def server_ends_in_a_query() -> Script:
    """A backend killed while its query runs: FATAL 57P01, then the connection closes."""
    yield say(query("SELECT pg_sleep(30) /* kill me */"), until=None)
    yield Working("/* kill me */")
    yield Elsewhere(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE '%/* kill me */%' AND pid <> pg_backend_pid()"
    )
    yield read(until=b"E")
    yield read(until=1)


@conversation(masks=(r"DETAIL.*", r"Process \d+", r"process \d+", r"transaction \d+"), interleaves=False)
def serialization_failure() -> Script:
    """40001 arrives as such, so that applications can retry."""
    yield ask("BEGIN ISOLATION LEVEL SERIALIZABLE")
    yield ask("SELECT sum(balance) FROM accounts")
    yield Elsewhere("UPDATE accounts SET balance = balance + 1 WHERE id = 1")
    yield ask("UPDATE accounts SET balance = balance - 1 WHERE id = 1")
    yield ask("ROLLBACK")


@conversation()
def flush_during_a_slow_query() -> Script:
    """Rows before a slow part come with the reply, not before its time; later requests wait their turn."""
    yield say(extended("SELECT 'early'"), flush(), extended("SELECT pg_sleep(0.2)"), execute("nope"), sync())
