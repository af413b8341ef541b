"""What authors of plugins test with."""

from __future__ import annotations

import pytest

from pgbeam_core import Answer, PgBeamError, Refusal, hookimpl
from pgbeam_core.testing import FakePostgres, answer, byte_by_byte, error, in_one_piece, randomly, table

pytest_plugins = ["pgbeam_core.testing.fixtures"]

NAMES = table(["name"], [("tea",), (None,)])


class Greeter:
    """Answers one query itself and refuses another."""

    @hookimpl
    def execute(self, query) -> Answer | Refusal | None:
        """Answer or refuse."""
        if query.statement.text == b"SELECT 'hello'":
            return answer(["greeting"], [("hello from the plugin",)])
        if query.statement.text == b"SELECT 'no'":
            return Refusal("28000", "not you")
        return None


@pytest.fixture(params=[in_one_piece, byte_by_byte, randomly(7)], ids=["whole", "byte by byte", "randomly"])
def rehearsal(request, rehearse):
    """A PgBeam with one plugin, whose bytes arrive in one of several ways."""
    made = rehearse({"greeter": Greeter()}, chunks=request.param)
    made.primary.answers["SELECT name FROM products"] = NAMES
    return made


@pytest.mark.parametrize("ask", ["query", "execute"])
def test_a_query_that_no_plugin_answers_gets_what_the_server_says(rehearsal, ask):
    """A rehearsed client sees the scripted server's rows, by the simple and by the extended protocol."""
    reply = getattr(rehearsal.login(), ask)("SELECT name FROM products")
    assert reply.rows == (("tea",), (None,))
    assert reply.tags == ("SELECT 2",)
    assert rehearsal.results[-1][1].source == "server"


@pytest.mark.parametrize("ask", ["query", "execute"])
def test_a_plugin_answers_instead_of_the_server(rehearsal, ask):
    """A plugin's Answer reaches the client, and the server is not asked."""
    assert getattr(rehearsal.login(), ask)("SELECT 'hello'").rows == (("hello from the plugin",),)
    assert rehearsal.results[-1][1].source == "greeter"
    assert rehearsal.primary.asked == []


@pytest.mark.parametrize("ask", ["query", "execute"])
def test_a_plugin_refuses(rehearsal, ask):
    """A Refusal is an ERROR, and the session goes on."""
    client = rehearsal.login()
    assert getattr(client, ask)("SELECT 'no'").error == ("28000", "not you")
    assert client.query("SELECT name FROM products").tags == ("SELECT 2",)


def test_errors_and_transactions_are_those_of_a_server(rehearsal):
    """The scripted server fails a transaction as PostgreSQL would, up to the ROLLBACK."""
    client = rehearsal.login()
    rehearsal.primary.answers["SELECT oops"] = error("42703", 'column "oops" does not exist')
    assert client.query("BEGIN").frames[-1][-1:] == b"T"
    failed = client.execute("SELECT oops")
    assert failed.error == ("42703", 'column "oops" does not exist')
    assert failed.frames[-1][-1:] == b"E"
    assert client.query("ROLLBACK").frames[-1][-1:] == b"I"


def test_passwords_are_asked_for(rehearse):
    """A wrong password is refused in the server's words, a right one lets the client in."""
    rehearsal = rehearse({}, servers={"primary:5432": FakePostgres(passwords={"app": "s3kr it"})})
    assert rehearsal.login(password="wrong").refusal == ("28P01", 'password authentication failed for user "app"')
    assert rehearsal.login(password="s3kr it").refusal is None
    assert len(rehearsal.beam.sessions) == 1


def test_a_server_that_is_down_or_crashes(rehearse):
    """A client hears of both as 08006."""
    rehearsal = rehearse({})
    client = rehearsal.login()
    rehearsal.primary.down = True
    rehearsal.primary.crash()
    rehearsal.pump()
    assert client.query("SELECT 1").error[0] == "08006"
    rehearsal.primary.down = False
    client.query("BEGIN")
    client.query("COPY nothing TO STDOUT")  # it takes a statement to make a transaction real
    rehearsal.primary.crash()
    rehearsal.pump()
    assert client.collect().error[0] == "08006"
    assert client.closed


def test_settings_are_checked_as_in_settings_toml(rehearse):
    """A setting that the plugin does not know is an error that names it."""
    with pytest.raises(PgBeamError, match=r"plugins.greeter.volume = 11: plugin greeter has no settings"):
        rehearse({"greeter": Greeter()}, settings={"greeter": {"volume": 11}})


def test_a_client_that_leaves_leaves_nothing_behind(rehearsal):
    """Sessions and connections end with their client, whichever way it goes."""
    rehearsal.login().leave()
    rehearsal.login().vanish()
    rehearsal.call().vanish()
    assert not rehearsal.beam.sessions
    assert not rehearsal.beam.clients
    rehearsal.close()
    assert not rehearsal.primary.connections
