"""The scripted server, in front of a real driver."""

from __future__ import annotations

import psycopg
import pytest
from pytest_twisted import blockon, ensureDeferred
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from pgbeam_core.testing import FakePostgres, error, table


@pytest.fixture
def fake():
    """A server that knows two queries and one password."""
    answers = {"SELECT name FROM t": table(["name"], [("tea",), (None,)]), "SELECT oops": error("42703", "no oops")}
    return FakePostgres(answers, passwords={"app": "s3kr it"})


@pytest.fixture
def listening(fake):
    """The port of 127.0.0.1 on which it listens."""
    port = reactor.listenTCP(0, fake, interface="127.0.0.1")
    yield port.getHost().port
    blockon(port.stopListening())


@ensureDeferred
async def test_a_driver_can_talk_to_it(fake, listening):
    """psycopg logs in with a password, reads rows and gets errors, in the simple and in the extended protocol."""

    def talk():
        url = f"postgresql://app:s3kr%20it@127.0.0.1:{listening}/shop"
        with psycopg.connect(url, autocommit=True) as client:
            rows = client.execute("SELECT name FROM t").fetchall()
            prepared = client.execute("SELECT name FROM t", prepare=True).fetchall()
            with pytest.raises(psycopg.errors.UndefinedColumn):
                client.execute("SELECT oops")
            with psycopg.ClientCursor(client) as cursor:
                return rows, prepared, cursor.execute("SELECT name FROM t").fetchall()

    assert await deferToThread(talk) == ([("tea",), (None,)],) * 3
    assert fake.asked == ["SELECT name FROM t", "SELECT name FROM t", "SELECT oops", "SELECT name FROM t"]


@ensureDeferred
async def test_a_wrong_password_is_refused(listening):
    """As PostgreSQL says it."""

    def talk():
        with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "app"'):
            psycopg.connect(f"postgresql://app:wrong@127.0.0.1:{listening}/shop")

    await deferToThread(talk)
