"""A remembered reply is, byte for byte, the reply that the server gives: every type, every way to ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import Cluster
from tests.behaviour.wireclient import Frame, WireClient

pytestmark = [pytest.mark.pg, pytest.mark.newest, pytest.mark.usefixtures("fresh_shop")]
CACHE = "/* @pgbeam:cache */ "
VALUES = [
    *("1::int2", "1::int4", "1::int8", "1.5::numeric", "'NaN'::numeric", "1.5::float4", "1e300::float8", "true"),
    *("'x'::text", "''::text", "'x'::varchar(9)", "'x'::char(3)", "'x'::\"char\"", "'x'::name", "NULL::text"),
    *("'\\x00ff'::bytea", "date '2024-02-29'", "time '01:02:03.4'", "timestamp '2024-01-01 00:00'"),
    *("timestamptz '2024-01-01 00:00+00'", "interval '1 mon 2 days'", "'infinity'::timestamp", "'-infinity'::date"),
    *("'{\"a\": 1}'::json", "'{\"a\": 1}'::jsonb", "'<a/>'::text", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"),
    *("'10.0.0.1/8'::inet", "'10.0.0.0/8'::cidr", "'08:00:2b:01:02:03'::macaddr", "B'101'::bit(3)", "B'1'::varbit"),
    *("'(1,2)'::point", "'((0,0),(1,1))'::box", "'<(0,0),1>'::circle", "ARRAY[1,NULL,3]", "ARRAY['a,b','c\"']"),
    *("ARRAY[[1,2],[3,4]]", "'[1,5)'::int4range", "'{[1,2),[4,5)}'::int4multirange", "ROW(1,'a')", "'a:1'::tsvector"),
    *("'a & b'::tsquery", "12.34::money", "'1/2'::pg_lsn", "16::oid"),
]
FORMATS = ([0], [1])


class Pair:
    """A client of PgBeam and one of the server itself."""

    def __init__(self, running: Beam) -> None:
        self.client, self.direct = running.wire(), Direct(running.cluster).wire()

    def close(self) -> None:
        """Send them away."""
        self.client.close()
        self.direct.close()

    def prepare(self, request: bytes) -> None:
        """Ask both for something whose reply is the same anyway."""
        assert self.client.ask(request) == self.direct.ask(request)

    def agree(self, request: bytes, about: str) -> None:
        """Asked twice, PgBeam says twice what the server says."""
        right = self.direct.ask(request)
        assert self.client.ask(request) == right, about
        assert self.client.ask(request) == right, about


@pytest.fixture(params=["transaction", "session"])
def pair(request: pytest.FixtureRequest, cluster: Cluster, beam: Callable[..., Beam]) -> Iterator[Pair]:
    """Of one PgBeam."""
    made = Pair(beam(cluster, request.param, plugins="cache,pool"))
    yield made
    made.close()


def test_in_one_request(pair: Pair) -> None:
    """Simple and extended; text and binary; described or not; all rows or some."""
    for value in VALUES:
        sql = f"{CACHE}SELECT {value} AS v FROM categories WHERE id < 3"
        pair.agree(frames.query(sql), value)
        for results in FORMATS:
            begin = frames.parse(sql) + frames.bind(results=results)
            for rest in _executions():
                pair.agree(begin + rest, value)


def test_of_a_named_statement(pair: Pair) -> None:
    """Parsed once and bound again and again, described by its own name or by its portal's, or not at all."""
    for number, value in enumerate(VALUES):
        name = f"statement {number}"
        pair.prepare(frames.parse(f"{CACHE}SELECT {value} AS v FROM categories WHERE id < 3", name) + frames.sync())
        pair.prepare(frames.describe(name, b"S") + frames.sync())
        for results in FORMATS:
            bind = frames.bind(statement=name, results=results)
            for rest in _executions():
                pair.agree(bind + rest, value)
                pair.agree(frames.describe(name, b"S") + bind + rest, value)
        pair.prepare(frames.close(name) + frames.sync())


def test_of_a_parameter(pair: Pair) -> None:
    """Of every type, sent and wanted as text or in binary."""
    for value in VALUES:
        (type_name,) = _values(pair.direct.ask(frames.query(f"SELECT pg_typeof({value})::text")))
        assert type_name is not None
        sql = f"{CACHE}SELECT $1::{type_name.decode()} AS v FROM categories WHERE id < 3"
        for sent in FORMATS:
            one = frames.parse(f"SELECT {value}") + frames.bind(results=sent) + frames.execute() + frames.sync()
            (parameter,) = _values(pair.direct.ask(one))
            for wanted in FORMATS:
                begin = frames.parse(sql) + frames.bind(parameter, formats=sent, results=wanted)
                pair.agree(begin + frames.describe() + frames.execute() + frames.sync(), value)
                pair.agree(begin + frames.execute() + frames.sync(), value)


def test_without_rows_and_without_columns(pair: Pair) -> None:
    """Nothing is a reply too."""
    for sql in (
        "SELECT * FROM categories WHERE false",
        "SELECT FROM categories",
        "SELECT FROM categories WHERE false",
        "VALUES (1, 'a'), (2, NULL)",
        "TABLE categories",
        "WITH x AS (SELECT 1) TABLE x",
        "SELECT name, name, id FROM categories",
        "SELECT repeat(name, 20000) FROM categories",
    ):
        pair.agree(frames.query(CACHE + sql), sql)
        for rest in _executions():
            pair.agree(frames.parse(CACHE + sql) + frames.bind() + rest, sql)


def _executions() -> list[bytes]:
    """With and without a Describe, of all rows, of the first one, of more than there are."""
    return [
        described + frames.execute(max_rows=most) + frames.sync()
        for described in (frames.describe(), b"")
        for most in (0, 1, 2, 9)
    ]


def _values(said: list[Frame]) -> list[bytes | None]:
    """The values of rows of one column."""
    found = [frame.body[2:] for frame in said if frame.tag == b"D"]
    return [None if body[:4] == b"\xff\xff\xff\xff" else body[4:] for body in found]


def test_they_are_hits(cluster: Cluster, beam: Callable[..., Beam]) -> None:
    """Where one is possible, the second reply is a remembered one: these tests compare what they mean to."""
    sql = f"{CACHE}SELECT 1::int8 AS v FROM categories"
    place = beam(cluster, "transaction", plugins="cache,pool,debug")
    place.wait_for_catalog()
    with place.wire() as wire:
        wire.ask(frames.query("SET pgbeam.debug = on"))
        wire.ask(frames.parse(sql, "named") + frames.sync())
        asked = [
            frames.query(sql),
            frames.bind(statement="named", results=[1]) + _executions()[0],
            frames.bind(statement="named", results=[0]) + _executions()[4],
        ]
        heard = [[_heard(wire, request) for _ in range(2)] for request in asked]
    assert heard == [["miss", "hit"], ["miss", "hit"], ["hit", "hit"]]


def _heard(wire: WireClient, request: bytes) -> str:
    """What the notice says of the cache."""
    notice = b"".join(frame.body for frame in wire.ask(request) if frame.tag == b"N")
    return notice.partition(b"cache=")[2].split(b" ")[0].rstrip(b"\0").decode()
