"""What a server says on its own account while it does something of PgBeam's own."""

from __future__ import annotations

from pgbeam_core.errors import PasswordNeeded, PoolExhausted, ServerRefused
from pgbeam_core.wire import backend
from tests.session.plugins import code, staged
from tests.session.stage import READY, Stage, done, error, messages, query

NOTE = b"A\x00\x00\x00\x0c\x00\x00\x00\x01a\x00b\x00"
CALL = "DO 'BEGIN END'"


def asked() -> Stage:
    """A client that listens; PgBeam is asking its server what the client has left there."""
    stage = Stage()
    stage.turn(query("LISTEN a"), done("LISTEN") + READY)
    stage.turn(query(CALL), done("DO") + READY)
    assert stage.servers[0].owed == 1
    stage.client.take()
    return stage


def test_a_notification_is_told_while_pgbeam_asks() -> None:
    """Who listens hears of it at once, though the reply it came in is PgBeam's."""
    stage = asked()
    row = backend.data_row(["pin", "listen", ""])
    stage.say(row + NOTE + done() + NOTE + READY)
    assert stage.client.take() == NOTE + NOTE


def test_a_notification_comes_before_the_next_reply() -> None:
    """In order: the client's next request stands behind PgBeam's."""
    stage = asked()
    stage.send(query("SELECT 1"))
    stage.say(NOTE + backend.data_row(["pin", "listen", ""]) + done() + READY + done() + NOTE + READY)
    assert stage.client.take() == NOTE + done() + NOTE + READY


def test_a_changed_parameter_is_told_when_pgbeam_has_asked() -> None:
    """The server's settings were reloaded in that moment: the client hears what came of it, once."""
    stage = asked()
    statuses = backend.parameter_status("TimeZone", "UTC") + backend.parameter_status("TimeZone", "Asia/Tokyo")
    stage.say(statuses + done() + READY)
    assert stage.client.take() == backend.parameter_status("TimeZone", "Asia/Tokyo")


def test_what_pgbeam_sets_for_a_client_is_no_news_to_it() -> None:
    """A server that is given the client's settings reports them: the client has heard that from another one."""
    stage = Stage(servers=2)
    status = backend.parameter_status("TimeZone", "UTC")
    assert status in stage.turn(query("SET timezone = 'UTC'"), status + done("SET") + READY)
    other = stage.pools.idle[0]
    assert other is stage.servers[1]
    stage.send(query("SELECT 1"))
    stage.say(status + done() + READY + done() + READY, other)
    assert stage.client.take() == done() + READY


# No server to be had.


def test_a_client_that_needs_a_new_login_is_sent_away() -> None:
    """An ERROR each time would keep it in its pool for ever."""
    stage, plugin = staged(servers=0)
    stage.send(query("SELECT 1") + query("SELECT 2"))
    stage.pools.waiting.pop().errback(PasswordNeeded("no server left", hint="Connect again."))
    (said,) = messages(stage.client.take())
    assert backend.error_fields(said) == {
        "S": "FATAL",
        "V": "FATAL",
        "C": "08006",
        "M": "no server left",
        "H": "Connect again. See docs/errors.md#passwords-that-pgbeam-does-not-have.",
    }
    assert stage.client.gone is not None
    assert [result.error for result in plugin.results] == [("08006", "no server left")]
    assert not stage.pools.waiting


def test_who_may_not_log_in_any_more_is_sent_away() -> None:
    """The role or the database is gone: the server's own words, and the end."""
    for sqlstate, ends in (("28000", True), ("28P01", True), ("3D000", True), ("53300", False), ("57P03", False)):
        stage = Stage(servers=0)
        stage.send(query("SELECT 1"))
        frame = error(sqlstate, "no", "FATAL")
        stage.pools.waiting.pop().errback(ServerRefused("no", frame, sqlstate=sqlstate))
        got = messages(stage.client.take())
        assert code(got[0]) == sqlstate
        assert (backend.error_fields(got[0])["S"] == "FATAL", stage.client.gone is not None) == (ends, ends)


def test_what_passes_is_an_error() -> None:
    """A full pool costs the query, not the session."""
    stage = Stage(servers=0)
    stage.send(query("SELECT 1"))
    stage.pools.waiting.pop().errback(PoolExhausted("timed out"))
    assert stage.client.take().endswith(READY)
    assert stage.client.gone is None
