"""The same text from everybody: each gets what the server would have told them, in memory and from the second level."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam, Direct
from tests.behaviour.cache import twins
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import Frame, WireClient
from tests.plugins.cache.levels import redis_server

pytestmark = [pytest.mark.pg, pytest.mark.newest, pytest.mark.usefixtures("fresh_shop")]
NEED_REDIS = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed here")
PLUGINS = "cache,pool,debug"


class Person(NamedTuple):
    """Who logs in, with which startup parameters, and what they say first."""

    user: str = "app"
    database: str = "shop"
    startup: dict[str, str] = {}  # noqa: RUF012 -- nobody changes it
    says: tuple[str, ...] = ()


PEOPLE = {
    "plain": Person(),
    "another role": Person(twins.ROLE),
    "superuser": Person("boss"),
    "another database": Person(database=twins.TWIN),
    "search_path": Person(says=("SET search_path = b",)),
    "search_path of two": Person(says=("SET search_path = b, public",)),
    "search_path by set_config": Person(says=("SELECT set_config('search_path', 'b,public', false)",)),
    "search_path by a function": Person(says=("SET a.b = c", "SELECT public.path()")),
    "search_path by options": Person(startup={"options": "-c search_path=b"}),
    "time zone": Person(says=("SET TIME ZONE 'Asia/Tokyo'",)),
    "another time zone": Person(says=("SET TimeZone = 'America/New_York'",)),
    "time zone at startup": Person(startup={"TimeZone": "Asia/Tokyo"}),
    "time zone by options": Person(startup={"options": "-c timezone=America/New_York"}),
    "date style": Person(says=("SET DateStyle = 'SQL, DMY'",)),
    "date style at startup": Person(startup={"DateStyle": "German"}),
    "interval style": Person(says=("SET IntervalStyle = iso_8601",)),
    "float digits": Person(says=("SET extra_float_digits = -3",)),
    "float digits at startup": Person(startup={"extra_float_digits": "0"}),
    "bytea": Person(says=("SET bytea_output = escape",)),
    "encoding": Person(says=("SET client_encoding = latin1",)),
    "encoding at startup": Person(startup={"client_encoding": "LATIN1"}),
    "row security": Person(says=("SET row_security = off",)),
    "tenant a": Person(says=("SET app.tenant = 'a'",)),
    "tenant b": Person(says=("SELECT set_config('app.tenant', 'b', false)",)),
    "tenant at startup": Person(startup={"options": "-c app.tenant=a"}),
    "set role": Person(says=(f"SET ROLE {twins.ROLE}",)),
    "superuser as another role": Person("boss", says=(f"SET ROLE {twins.ROLE}",)),
    "session authorization": Person("boss", says=("SET SESSION AUTHORIZATION app",)),
    "both": Person("boss", says=("SET SESSION AUTHORIZATION app", f"SET ROLE {twins.ROLE}")),
}


@pytest.fixture
def server(cluster: Cluster, fresh_shop: None) -> Iterator[Cluster]:
    """Two schemas, two databases, row level security."""
    twins.prepare(cluster)
    for database in ("shop", twins.TWIN):
        twins.fill(Direct(cluster), database)
    with cluster.connect(database=twins.TWIN) as boss:
        boss.execute("UPDATE t SET v = 'in another database'")
    yield cluster
    twins.tidy(cluster)


@pytest.fixture(params=["disk", pytest.param("redis", marks=NEED_REDIS)])
def start(request: pytest.FixtureRequest, beam: Callable[..., Beam], tmp_path: Path) -> Iterator[Callable[..., Beam]]:
    """Starts processes that share a second level."""

    def starter(level: str) -> Callable[..., Beam]:
        settings = {"state_dir": str(tmp_path / "s"), "plugins": {"cache": {"l2": level, "l2_timeout_s": 2}}}
        return lambda cluster, mode, **how: beam(cluster, mode, plugins=PLUGINS, settings=settings, **how)

    if request.param == "disk":
        yield starter("disk")
        return
    with redis_server(tmp_path) as url:
        yield starter(url)


def arrive(place: Direct, person: Person) -> WireClient:
    """One of them, ready to ask. The server takes pgbeam.debug for a parameter of the application's."""
    wire = place.wire(person.user, person.database, parameters=person.startup)
    for sql in ("SET pgbeam.debug = on", *person.says):
        assert not twins.errors(wire.ask(frames.query(sql)))
    return wire


def ask_all(place: Direct, person: Person) -> tuple[list[list[Frame]], int]:
    """What they are told, and how much of it came from the cache."""
    told, hits = [], 0
    with arrive(place, person) as wire:
        for sql in twins.READS:
            said = wire.ask(frames.query(twins.CACHE + sql))
            told.append(twins.told(said))
            hits += any(frame.tag == b"N" and b"cache=hit" in frame.body for frame in said)
    return told, hits


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_everybody_gets_their_own(server: Cluster, start: Callable[..., Beam], mode: str) -> None:
    """Roles, databases, schemas, zones, styles, encodings, tenants: nobody finds what anybody else has read."""
    one, other = start(server, mode), start(server, mode)
    right = {name: ask_all(Direct(server), person)[0] for name, person in PEOPLE.items()}
    for name, person in PEOPLE.items():
        told, hits = ask_all(one, person)
        assert told == right[name], name
        assert not hits, name
    time.sleep(0.3)
    for place in (one, other):
        hits = 0
        for name, person in PEOPLE.items():
            told, some = ask_all(place, person)
            assert told == right[name], name
            hits += some
        assert hits > len(PEOPLE) * len(twins.READS) * 0.8


def test_projects_and_servers_are_apart(
    server: Cluster, clusters: Callable[[int], Cluster], start: Callable[..., Beam]
) -> None:
    """Two projects in front of one server, and one project's name in front of two, with one second level for all."""
    elsewhere = clusters(15 if server.version == 18 else 18)
    with elsewhere.connect() as boss:
        boss.execute(
            "DROP TABLE IF EXISTS t CASCADE; CREATE TABLE t AS SELECT 'elsewhere'::text AS v; GRANT SELECT ON t TO app"
        )
    try:
        for place in (
            start(server, "transaction"),
            start(server, "transaction", name="another"),
            start(elsewhere, "transaction"),
        ):
            assert _ask_t(place) == (_ask_t(Direct(place.cluster))[0], False)
            time.sleep(0.2)
        once_more = start(server, "transaction", name="another")
        assert any(_ask_t(once_more)[1] for _ in range(3))
    finally:
        with elsewhere.connect() as boss:
            boss.execute("DROP TABLE t")


def _ask_t(place: Direct) -> tuple[list[Frame], bool]:
    """The rows of `t`, and whether they came from the cache."""
    with arrive(place, Person()) as wire:
        said = wire.ask(frames.query(f"{twins.CACHE}SELECT v FROM t"))
    return twins.told(said), any(frame.tag == b"N" and b"cache=hit" in frame.body for frame in said)
