"""One primary and two streaming replicas behind one PgBeam that is told all three, and which may change places."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from typing import Any

import psycopg

from tests.behaviour.clusters import DATABASE, Cluster, Installation, start_cluster

SECONDS = 20.0


class Trio:
    """Made by `start`, ended by `stop`; `nodes` never change their places in the list, nor their ports."""

    def __init__(self, found: Installation, *, replicas: int = 2) -> None:
        first = start_cluster(found)
        self.nodes = [first]
        try:
            with first.connect() as boss:
                boss.execute("ALTER SYSTEM SET wal_log_hints = on")
                boss.execute("ALTER SYSTEM SET full_page_writes = on")
                boss.execute("ALTER SYSTEM SET wal_keep_size = '512MB'")  # for pg_rewind
                boss.execute("ALTER SYSTEM SET synchronous_commit = local")
                boss.execute("CREATE TABLE ledger (id bigint PRIMARY KEY, client int NOT NULL, node int)")
                boss.execute(
                    "CREATE VIEW where_am_i AS SELECT inet_server_port() AS port, pg_is_in_recovery() AS replica"
                )
                boss.execute("GRANT ALL ON ledger, where_am_i TO app")
            first.restart()
            for _ in range(replicas):
                self.nodes.append(first.replica())
            for node in self.nodes[1:]:
                first.wait_for_replay(node)
        except BaseException:
            first.stop()
            raise
        first.replicas = []  # each is stopped by itself: they change places

    def project(self, *, attrs: str = "read-write", **more: Any) -> dict[str, Any]:
        """The settings of a project in front of them."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        upstream = f"postgresql://boss@{hosts}/{DATABASE}?target_session_attrs={attrs}"
        return {"upstream": upstream, "failover_probe_s": 0.3, **more}

    def settle(self, primary: Cluster) -> None:
        """Have all others that run follow that one."""
        for node in self.nodes:
            if node is not primary and node.process is not None and node.process.poll() is None:
                node.follow(primary)

    def stop(self) -> None:
        """End all of them."""
        for node in self.nodes:
            with contextlib.suppress(Exception):
                node.signal(signal.SIGCONT)
            node.stop()


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait until that is true; gives what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            found = condition()
            if found:
                return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
