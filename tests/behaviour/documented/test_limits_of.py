"""What differs from a direct connection: each line of docs/limits-of.md that no other test shows."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.behaviour import frames
from tests.behaviour.beams import Beam, Direct
from tests.behaviour.clusters import DATABASE, PASSWORD, Cluster
from tests.behaviour.conftest import BeamFactory
from tests.behaviour.wireclient import Closed, Frame, LoginRefused, WireClient, error_fields

pytestmark = [pytest.mark.pg, pytest.mark.newest]


@pytest.fixture
def single(cluster: Cluster, fresh_shop: None, shared_beam: BeamFactory) -> Beam:
    """PgBeam in transaction mode with one server."""
    return shared_beam(cluster, "transaction", settings={"plugins": {"pool": {"max_active": 1, "wait_timeout_s": 5}}})


@pytest.fixture
def pair(single: Beam) -> Iterator[tuple[WireClient, WireClient]]:
    """Two clients of it."""
    with single.wire() as one, single.wire() as other:
        yield one, other


@pytest.fixture
def straight(cluster: Cluster, fresh_shop: None) -> Iterator[WireClient]:
    """A direct connection to compare with."""
    with Direct(cluster).wire() as client:
        yield client


def value(reply: list[Frame]) -> str | None:
    """The first value of the first row, or the SQLSTATE of the error before it."""
    frame = next(frame for frame in reply if frame.tag in b"DE")
    if frame.tag == b"E":
        return error_fields(frame.body)["C"]
    size = int.from_bytes(frame.body[2:6], "big", signed=True)
    return None if size < 0 else frame.body[6 : 6 + size].decode()


def said(client: WireClient, text: str) -> str | None:
    """The first value of what is said to a simple Query."""
    return value(client.ask(frames.query(text)))


# In every mode.


def test_tls_is_declined(single: Beam) -> None:
    """SSLRequest and GSSENCRequest are answered with N."""
    for request in (frames.SSL_REQUEST, frames.GSSENC_REQUEST):
        client = WireClient(single.port)
        with contextlib.closing(client):
            client.send(request)
            assert client.socket.recv(10) == b"N"


def test_channel_binding_is_not_offered(single: Beam) -> None:
    """A client that insists on channel binding is not let in."""
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        psycopg.connect(single.url("with_scram", password=PASSWORD, channel_binding="require"))


def test_the_address_is_that_of_pgbeam(single: Beam, pair: tuple[WireClient, WireClient]) -> None:
    """The server sees the port of PgBeam's connection, not the client's."""
    port = said(pair[0], "SELECT inet_client_port()")
    assert port != str(pair[0].socket.getsockname()[1])


def test_cancel_keys_are_of_pgbeam(pair: tuple[WireClient, WireClient]) -> None:
    """The server does not know the process id that the client was told."""
    assert said(pair[0], f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pair[0].pid}") == "0"


def test_protocol_3_2_ends_at_pgbeam(cluster: Cluster, single: Beam) -> None:
    """A client of protocol 3.2 has a longer key of PgBeam's own, also with servers that know 3.0 only."""
    with single.wire(protocol=frames.PROTOCOL_3_2) as client:
        assert said(client, "SELECT 1") == "1"
        assert len(client.key) > 4


def test_annotations_are_blanked_out(straight: WireClient, pair: tuple[WireClient, WireClient]) -> None:
    """The server sees spaces in their place."""
    text = "/* @pgbeam:cache noCache */ SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    assert said(straight, text) == text
    assert said(pair[0], text) == " " * text.index(" SELECT") + text[text.index(" SELECT") :]


def test_names_of_prepared_statements(straight: WireClient, pair: tuple[WireClient, WireClient]) -> None:
    """pg_prepared_statements shows names of PgBeam's own, for statements of the protocol."""
    names = "SELECT string_agg(name, ' ') FROM pg_prepared_statements WHERE name <> ''"
    for client, starts in ((straight, "mine"), (pair[0], "pgbeam_")):
        client.ask(frames.extended("SELECT name FROM users WHERE id = 1", name="mine") + frames.sync())
        assert (said(client, names) or "").startswith(starts)


def test_functions_do_not_meet_statements_of_the_protocol(
    straight: WireClient, pair: tuple[WireClient, WireClient]
) -> None:
    """What the client has prepared by the protocol has another name on the server: only its texts are translated."""
    finds, takes = (f"DO $$ BEGIN EXECUTE '{sql}'; END $$" for sql in ("EXECUTE mine", "PREPARE mine AS SELECT 1"))
    for client, codes in ((straight, ["42P05"]), (pair[0], ["26000"])):
        client.ask(frames.parse("SELECT 2", "mine") + frames.sync())
        replies = [*client.ask(frames.query(finds)), *client.ask(frames.query(takes))]
        assert [error_fields(frame.body)["C"] for frame in replies if frame.tag == b"E"] == codes


def test_plans_of_unnamed_statements(straight: WireClient, pair: tuple[WireClient, WireClient]) -> None:
    """A text that is parsed again and again stays prepared: it may get a generic plan, as a named one would."""
    text = "SELECT name FROM products WHERE category_id < $1"
    plans = "SELECT coalesce(sum(generic_plans), 0) > 0 FROM pg_prepared_statements WHERE statement LIKE '%_id < %'"
    for client, generic in ((straight, "f"), (pair[0], "t")):
        for _ in range(20):
            client.ask(frames.extended(text, b"3") + frames.sync())
        assert said(client, plans) == generic


def test_one_request_at_a_time(straight: WireClient, pair: tuple[WireClient, WireClient]) -> None:
    """The second of two requests is done after the first, in order, as direct; only not sent on before."""
    for client in (straight, pair[0]):
        client.send(frames.query("SELECT pg_sleep(0.1)") + frames.query("SELECT 2"))
        client.until(b"Z")
        assert value(client.until(b"Z")) == "2"


def test_own_variables_in_larger_queries(pair: tuple[WireClient, WireClient]) -> None:
    """The server does not know PgBeam's variables."""
    pair[0].ask(frames.query("SET pgbeam.debug = off"))
    assert said(pair[0], "SELECT current_setting('pgbeam.debug')") == "off"
    assert said(pair[0], "SELECT current_setting('pgbeam.debug') || '!'") == "42704"


# In transaction mode.


def test_the_process_id_changes(cluster: Cluster, fresh_shop: None, shared_beam: BeamFactory) -> None:
    """Checks of pools that compare pg_backend_pid() with what the driver knows fail; in session mode they agree."""
    for mode, agree in (("transaction", False), ("session", True)):
        with psycopg.connect(shared_beam(cluster, mode).url()) as conn:
            row = conn.execute("SELECT pg_backend_pid()").fetchone()
            assert (row == (conn.info.backend_pid,)) is agree


def test_a_pinned_client_keeps_its_server(pair: tuple[WireClient, WireClient]) -> None:
    """While one client has a temporary table on the only server, the other one waits in vain."""
    one, other = pair
    one.ask(frames.query("CREATE TEMP TABLE mine (n int)"))
    assert said(other, "SELECT 1") == "53300"
    one.ask(frames.query("DISCARD ALL"))
    assert said(other, "SELECT 1") == "1"


def test_currval_is_of_the_server(straight: WireClient, pair: tuple[WireClient, WireClient]) -> None:
    """lastval() and currval() are about the server: its last nextval() may be another client's."""
    one, other = pair
    one.ask(frames.query("SELECT nextval('orders_id_seq')"))
    last = said(other, "SELECT nextval('orders_id_seq')")
    assert said(one, "SELECT currval('orders_id_seq')") == last
    assert said(one, "SELECT lastval()") == last
    assert said(straight, "SELECT lastval()") == "55000"
    own = one.ask(frames.query("BEGIN; SELECT nextval('orders_id_seq')"))
    assert said(one, "SELECT lastval()") == value(own)
    one.ask(frames.query("COMMIT"))


def test_an_empty_placeholder(straight: WireClient, pair: tuple[WireClient, WireClient]) -> None:
    """A parameter that somebody had set on the server reads as empty, not as null, as after RESET direct."""
    one, other = pair
    for client in (straight, one):
        assert said(client, "SELECT current_setting('till.number', true)") is None
        client.ask(frames.query("SET till.number = '7'"))
    straight.ask(frames.query("RESET till.number"))
    assert said(straight, "SELECT current_setting('till.number', true)") == ""
    assert said(other, "SELECT current_setting('till.number', true)") == ""


def test_temporary_buffers_are_of_the_server(pair: tuple[WireClient, WireClient]) -> None:
    """Once a temporary table was used on a server, another client cannot set their number there."""
    pair[0].ask(frames.query("CREATE TEMP TABLE buffered AS SELECT 1"))
    pair[0].ask(frames.query("DROP TABLE buffered"))
    refused = pair[1].ask(frames.query("SET temp_buffers = '9MB'"))[0]
    assert error_fields(refused.body)["C"] == "22023"


def test_the_schema_of_temporary_tables_is_of_the_server(
    straight: WireClient, pair: tuple[WireClient, WireClient]
) -> None:
    """What another client's temporary table leaves is an empty schema."""
    drop = frames.query("DROP TABLE pg_temp.missing")
    pair[0].ask(frames.query("CREATE TEMP TABLE passing AS SELECT 1"))
    pair[0].ask(frames.query("DROP TABLE passing"))
    assert [error_fields(one.ask(drop)[0].body)["C"] for one in (straight, pair[1])] == ["3F000", "42P01"]
    assert said(straight, "SELECT pg_my_temp_schema() = 0") == "t"
    assert said(pair[1], "SELECT pg_my_temp_schema() = 0") == "f"


def test_the_context_of_an_error_is_as_the_server_first_saw_it(
    straight: WireClient, pair: tuple[WireClient, WireClient], cluster: Cluster
) -> None:
    """PL/pgSQL keeps what it calls a function: with its schema, or without where the search_path had that."""
    one, other = pair
    with cluster.connect() as boss:
        boss.execute("CREATE SCHEMA till AUTHORIZATION app")
        boss.execute("CREATE FUNCTION till.fails() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1 / 0; END'")
        try:
            for client in (straight, one):
                client.ask(frames.query("SET search_path = till"))
                assert b"function fails()" in _context(client)
            straight.ask(frames.query("RESET search_path"))
            for client in (straight, other):
                assert b"function fails()" in _context(client)
            with Direct(cluster).wire() as fresh:
                assert b"function till.fails()" in _context(fresh)
        finally:
            boss.execute("DROP SCHEMA till CASCADE")


def _context(client: WireClient) -> bytes:
    return next(frame.body for frame in client.ask(frames.query("SELECT till.fails()")) if frame.tag == b"E")


def test_the_seed_is_of_the_server(straight: WireClient, pair: tuple[WireClient, WireClient]) -> None:
    """What another client's setseed() began goes on."""
    straight.ask(frames.query("SELECT setseed(0.5)"))
    pair[0].ask(frames.query("SELECT setseed(0.5)"))
    assert said(pair[1], "SELECT random()") == said(straight, "SELECT random()")


def test_the_application_name_comes_with_the_first_query(cluster: Cluster, single: Beam) -> None:
    """Between its login and its first query a client is not known to the server by its name."""
    known = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'till 9'"
    with cluster.connect() as boss, single.wire() as first:
        first.ask(frames.query("SELECT 1"))
        with single.wire(parameters={"application_name": "till 9"}) as client:
            first.ask(frames.query("SELECT 1"))
            assert boss.execute(known).fetchone() == (0,)
            client.ask(frames.query("BEGIN; SELECT 1"))
            assert boss.execute(known).fetchone() == (1,)


def test_idle_session_timeout_is_about_pgbeam(cluster: Cluster, straight: WireClient, single: Beam) -> None:
    """A client that is idle for longer is not thrown out: its server is."""
    with cluster.connect() as boss:
        boss.execute("ALTER ROLE app IN DATABASE shop SET idle_session_timeout = '100ms'")
    try:
        with single.wire() as client, Direct(cluster).wire() as direct:
            assert said(client, "SELECT 1") == "1"
            time.sleep(0.5)
            assert said(client, "SELECT 2") == "2"
            assert value(direct.until(b"E")) == "57P05"
    finally:
        with cluster.connect() as boss:
            boss.execute("ALTER ROLE app IN DATABASE shop RESET idle_session_timeout")


def test_statement_mode_knows_no_transactions(cluster: Cluster, fresh_shop: None, shared_beam: BeamFactory) -> None:
    """BEGIN is refused, alone and among other statements."""
    with shared_beam(cluster, "statement").wire() as client:
        assert said(client, "BEGIN") == "0A000"
        assert said(client, "SELECT 1; BEGIN") == "0A000"


def test_a_killed_query_costs_the_query(cluster: Cluster, single: Beam) -> None:
    """After 57P01 outside a transaction the session goes on."""
    with single.wire() as client:
        assert said(client, "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)") in ("57P01", "08006")
        assert said(client, "SELECT 1") == "1"


def test_passwords_are_not_known(cluster: Cluster, fresh_shop: None, beam: BeamFactory) -> None:
    """When the only server of a client with a password is lost, PgBeam cannot make another one."""
    place = beam(cluster, "transaction")
    with place.wire("with_scram", password=PASSWORD) as client:
        assert said(client, "SELECT 1") == "1"
        with cluster.connect() as boss:
            boss.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'with_scram'")
        client.send(frames.query("SELECT 1"))
        assert error_fields(client.frame().body)["C"] in ("57P01", "08006")


# Of the cache.


@pytest.mark.parametrize("how", ["one", "several statements", "pipeline", "in parts"])
def test_what_the_cache_answers(cluster: Cluster, fresh_shop: None, shared_beam: BeamFactory, how: str) -> None:
    """A read by itself is answered from the cache; in a text with others, in a pipeline or read in parts it is not."""
    text = "SELECT name FROM users WHERE id = 3"
    ways = {
        "one": frames.query(text),
        "several statements": frames.query(f"{text}; {text}"),
        "pipeline": frames.extended(text) + frames.extended(text) + frames.sync(),
        "in parts": frames.parse(text) + frames.bind() + frames.execute("", 1) + frames.execute() + frames.sync(),
    }
    place = shared_beam(cluster, "transaction", settings={"plugins": {"cache": {"enabled": True}}})
    place.wait_for_catalog()
    with place.wire() as client:
        client.ask(frames.query("SET pgbeam.debug = on"))
        for _ in range(2):
            client.ask(frames.query(text))
        notices = b" ".join(frame.body for frame in client.ask(ways[how]) if frame.tag == b"N")
    assert (b"cache=hit" in notices) is (how == "one")


# Sizes.


def test_long_startup_packets_are_refused(single: Beam) -> None:
    """10,000 bytes and no more, as direct."""
    for port in (single.port, single.cluster.port):
        assert _login(port, 8_000)
        assert not _login(port, 10_100)


def _login(port: int, size: int) -> bool:
    parameters: dict[str, Any] = {"options": "-c search_path=" + "x" * size}
    try:
        WireClient.login(port, "app", DATABASE, parameters=parameters).close()
    except (LoginRefused, Closed, OSError):
        return False
    return True
