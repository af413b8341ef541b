"""Several hosts for the primary: PgBeam finds it, follows it, waits for it, and never writes to an old one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster, installation

from .trio import Trio, until

pytestmark = [pytest.mark.pg]

WHERE = "SELECT port FROM where_am_i"
WRITE = "INSERT INTO ledger VALUES (%s, 1)"
GONE = "is not the primary any more"


@pytest.fixture
def trio() -> Iterator[Trio]:
    """Three servers, the first of which is the primary."""
    found = installation(18) or installation(15)
    if found is None:
        pytest.skip("no PostgreSQL is installed here")
    made = Trio(found)
    yield made
    made.stop()


@pytest.fixture
def beam(trio, tmp_path: Path) -> Iterator[Callable[..., Beam]]:
    """beam(failover_hold_s=…) starts PgBeam in front of all three."""
    running: list[Beam] = []

    def start(**project: Any) -> Beam:
        replica = {"probe_interval_s": 0.3, "health_user": "boss"}
        settings = {"admin_users": ["app"], "plugins": {"replica": replica}}
        running.append(Beam(trio.nodes[0], "transaction", tmp_path, project=trio.project(**project), settings=settings))
        return running[-1]

    yield start
    for each in running:
        each._end()
        assert not each.complaints(), each.log[-4000:]


def connect(beam: Beam, **more: Any) -> psycopg.Connection:
    return psycopg.connect(beam.url(), autocommit=True, prepare_threshold=None, **more)


def port(client: psycopg.Connection, sql: str = WHERE) -> int:
    (found,) = client.execute(sql).fetchone()
    return int(found)


def members(beam: Beam) -> dict[int, str]:
    """What SHOW MEMBERS says of each host, by its port."""
    with psycopg.connect(beam.url(), dbname="pgbeam", autocommit=True) as console:
        shown = console.execute("SHOW MEMBERS").fetchall()
    return {int(address.rpartition(":")[2]): state for _, address, state, *_ in shown}


def rows(node: Cluster) -> set[int]:
    with node.connect() as boss:
        return {number for (number,) in boss.execute("SELECT id FROM ledger")}


class Aside:
    """A call that another thread waits for."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.error: BaseException | None = None
        self.result: Any = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Any]) -> None:
        try:
            self.result = call()
        except psycopg.Error as error:
            self.error = error

    def done(self, seconds: float = 20.0) -> Any:
        """What it came to, or its error raised."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "it is still waited for"
        if self.error is not None:
            raise self.error
        return self.result

    @property
    def waits(self) -> bool:
        return self._thread.is_alive()


def test_what_was_not_sent_waits_for_the_promotion_and_the_old_primary_is_fenced(trio, beam):
    """The primary dies: a statement, a lazy transaction and a login wait until a replica was promoted. The old one
    comes back as a primary of its own: no write ever reaches it again. Rewound, it is a replica that answers reads."""
    old, new, other = trio.nodes
    running = beam()

    def logs_in() -> None:
        with connect(running) as another:
            another.execute(WRITE, [4])

    with connect(running) as client, psycopg.connect(running.url()) as lazy:
        client.execute(WRITE, [1])
        assert port(client) == old.port
        lazy.execute(WHERE)
        old.wait_for_replay(new)
        old.kill()
        until(lambda: GONE in running.log, "its end is noticed")
        held = [
            Aside(lambda: client.execute(WRITE, [2])),
            Aside(lambda: lazy.execute(WRITE, [3])),
            Aside(logs_in),
        ]
        time.sleep(0.5)
        assert all(one.waits for one in held)
        new.promote()
        for one in held:
            one.done()
        lazy.commit()
        assert port(client) == new.port
        other.follow(new)
        new.wait_for_replay(other)
        old.revive()
        until(lambda: "it is an old primary" in running.log, "the old primary is noticed")
        for number in range(5, 30):
            with connect(running) as another:
                another.execute(WRITE, [number])
        assert members(running) == {old.port: "fenced", new.port: "primary", other.port: "standby"}
        assert rows(old) == {1}
        old.crash()
        old.rewind(new)
        old.follow(new)
        old.revive()
        new.wait_for_replay(old)
        replicas = {old.port, other.port}
        asked = "/* @pgbeam:replica */ " + WHERE
        until(lambda: {port(client, asked) for _ in range(4)} == replicas, "both are replicas of the new primary")
    assert rows(new) == rows(old) == set(range(1, 30))


def test_a_promotion_under_a_paused_primary_is_followed_and_what_hung_there_fails(trio, beam):
    """SIGSTOP: the server says nothing. When another one is promoted, who waits for the old one gets 08006, and
    nothing is sent to it when it goes on."""
    old, new, _ = trio.nodes
    running = beam()
    with connect(running) as client, connect(running) as writer:
        client.execute(WRITE, [1])
        old.wait_for_replay(new)
        writer.execute("BEGIN")
        writer.execute(WRITE, [100])
        old.signal(signal.SIGSTOP)
        hung = Aside(lambda: client.execute("INSERT INTO ledger VALUES (2, 1)"))
        new.promote()
        with pytest.raises(psycopg.OperationalError) as caught:
            hung.done()
        assert caught.value.sqlstate == "08006"
        with pytest.raises(psycopg.OperationalError):
            writer.execute(WRITE, [101])
        assert writer.closed
        assert port(client) == new.port
        client.execute(WRITE, [3])
        old.signal(signal.SIGCONT)
        until(lambda: "it is an old primary" in running.log, "the old primary is noticed")
        client.execute(WRITE, [4])
    assert {3, 4} <= rows(new)
    assert not rows(old) & {3, 4, 100, 101}


@pytest.mark.slow
def test_a_restart_of_the_primary_costs_those_who_wait_nothing(trio, beam):
    """The same server is the primary again: what was not sent meanwhile is answered by it."""
    (old, *_), running = trio.nodes, beam()
    with connect(running) as client:
        client.execute(WRITE, [1])
        old.crash()
        until(lambda: GONE in running.log, "its end is noticed")
        held = Aside(lambda: client.execute(WRITE, [2]))
        old.revive()
        held.done()
    assert rows(old) == {1, 2}


@pytest.mark.slow
def test_without_a_promotion_the_hold_ends_with_what_each_host_is(trio, beam):
    """After failover_hold_s the error names the hosts; then everybody is told at once, until there is a primary."""
    old, new, _ = trio.nodes
    running = beam(failover_hold_s=1.5)
    with connect(running) as client:
        client.execute(WRITE, [1])
        old.kill()
        until(lambda: GONE in running.log, "its end is noticed")
        with pytest.raises(psycopg.OperationalError) as caught:
            client.execute(WRITE, [2])
        assert caught.value.sqlstate == "08006"
        assert "no primary among" in str(caught.value)
        assert "it is in recovery" in caught.value.diag.message_hint
        for _ in range(3):
            with pytest.raises(psycopg.OperationalError) as caught:
                client.execute(WRITE, [2])
        assert "circuit breaker open" in str(caught.value)
        new.promote()
        until(lambda: client.execute(WHERE).fetchone() == (new.port,), "it heals", 5)


@pytest.mark.slow
def test_an_old_primary_is_known_to_a_pgbeam_that_starts_anew(trio, beam):
    """The latest timeline is on disk: with the new primary down, an old one gets nothing."""
    old, new, _ = trio.nodes
    running = beam()
    with connect(running) as client:
        client.execute(WRITE, [1])
        old.kill()
        new.promote()
        until(lambda: client.execute(WHERE).fetchone() == (new.port,), "the new primary")
    running._end()
    new.kill()
    old.revive()
    again = beam(failover_hold_s=1)
    with pytest.raises(psycopg.OperationalError, match="no primary among"):
        connect(again)
    assert rows(old) == {1}
    new.revive()

    def served() -> bool:
        with connect(again) as client:
            return port(client) == new.port

    until(served, "the new primary is back")


@pytest.mark.slow
def test_a_primary_that_is_read_only_by_default_gets_no_writes(trio, beam):
    """default_transaction_read_only is how some fence a server: read-write asks for one without it."""
    (old, *_), running = trio.nodes, beam(failover_hold_s=1)
    with connect(running) as client:
        client.execute(WRITE, [1])
        with old.connect() as boss:
            boss.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            boss.execute("SELECT pg_reload_conf()")
        until(lambda: "default_transaction_read_only is on" in running.log, "it is noticed")
        with pytest.raises(psycopg.OperationalError):
            client.execute(WRITE, [2])


@pytest.mark.slow
def test_a_prepared_transaction_whose_end_is_not_known_is_not_claimed(trio, beam):
    """COMMIT PREPARED that was under way when the primary stopped fails with 08006; on the new primary the transaction
    can be found, and ended once."""
    old, new, _ = trio.nodes
    running = beam()
    with connect(running) as client:
        client.execute("BEGIN")
        client.execute(WRITE, [1])
        client.execute("PREPARE TRANSACTION 'one'")
        old.wait_for_replay(new)
        old.signal(signal.SIGSTOP)
        unknown = Aside(lambda: client.execute("COMMIT PREPARED 'one'"))
        new.promote()
        with pytest.raises(psycopg.OperationalError) as caught:
            unknown.done()
        assert caught.value.sqlstate == "08006"
    with connect(running) as client:
        assert client.execute("SELECT gid FROM pg_prepared_xacts").fetchall() == [("one",)]
        client.execute("COMMIT PREPARED 'one'")
        with pytest.raises(psycopg.errors.UndefinedObject):
            client.execute("COMMIT PREPARED 'one'")
    assert rows(new) == {1}


@pytest.mark.slow
def test_an_advisory_lock_is_not_believed_in_after_its_server_was_lost(trio, beam):
    """Whoever held a session's lock is ended: going on would be going on without it."""
    old, new, _ = trio.nodes
    running = beam()
    with connect(running) as holder, connect(running) as other:
        holder.execute("SELECT pg_advisory_lock(7)")
        assert other.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (False,)
        old.kill()
        new.promote()
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")
        assert holder.closed
        until(lambda: other.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,), "the lock is free")


@pytest.mark.slow
def test_replicas_of_a_promoted_primary_keep_serving_when_they_follow_it(trio, beam):
    """One that stays behind on the old timeline is out; when it follows the new one it is back."""
    old, new, other = trio.nodes
    running = beam(auto_read_routing=True)
    with connect(running) as client:
        until(lambda: {port(client) for _ in range(6)} == {new.port, other.port}, "both replicas are used")
        old.wait_for_replay(new)
        old.kill()
        new.promote()
        until(lambda: "follows timeline 1" in running.log, "the one that stays behind is noticed")
        assert {port(client) for _ in range(6)} == {new.port}
        other.follow(new)
        until(lambda: {port(client) for _ in range(4)} == {other.port}, "it follows")
