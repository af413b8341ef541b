"""Rights that are taken away hold for statements that servers keep prepared for clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import WireClient

pytestmark = pytest.mark.pg
READ = "SELECT body FROM hidden"
LOSSES = (
    "ALTER ROLE reader NOBYPASSRLS",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE reader NOBYPASSRLS'; END $$",
    "BEGIN; ALTER ROLE reader NOBYPASSRLS; COMMIT",
)


@pytest.fixture
def hidden(cluster: Cluster, fresh_shop: None) -> Iterator[Cluster]:
    """A table whose rows only a role with BYPASSRLS sees."""
    with cluster.connect() as boss:
        boss.execute("CREATE ROLE reader LOGIN BYPASSRLS; GRANT USAGE ON SCHEMA public TO reader")
        boss.execute("CREATE TABLE hidden AS SELECT 'secret' AS body; GRANT SELECT ON hidden TO reader")
        boss.execute("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
        yield cluster
        boss.execute("DROP OWNED BY reader; DROP ROLE reader")


def rows(client: WireClient) -> int:
    """How many rows an unnamed Parse of the statement gives."""
    return sum(frame.tag == b"D" for frame in client.ask(frames.extended(READ) + frames.sync()))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_parse_after_the_loss_sees_what_a_fresh_one_sees(
    hidden: Cluster, beam: Callable[..., Beam], mode: str, loss: str
) -> None:
    """ParseComplete comes from memory only as long as the server would plan the statement as it did."""
    running = beam(hidden, mode, plugins="pool")
    with running.wire("reader") as client, running.wire("boss") as boss:
        assert [rows(client) for _ in range(6)] == [1] * 6
        boss.ask(frames.query(loss))
        assert rows(client) == 0
