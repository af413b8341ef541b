"""Committed writes drop what was read from their tables; a session sees its own writes."""

from __future__ import annotations

import pytest

from pgbeam_core import Project, Role, Target
from tests.plugins.cache.worlds import World, reply

SQL = "SELECT * FROM products JOIN categories USING (id)"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE products SET price = 1",
        "DELETE FROM public.categories",
        "INSERT INTO shop.products VALUES (1)",
        "TRUNCATE products",
        "DROP TABLE categories",
        "ALTER TABLE products ADD x int",
        "COPY products FROM STDIN",
        "WITH gone AS (DELETE FROM products RETURNING *) SELECT * FROM gone",
        "DO $$ BEGIN END $$",
        "CALL anything()",
        "DROP SCHEMA other CASCADE",
        "UPDATE other SET x = 1; UPDATE products SET x = 1",
        "GRANT admin TO app",
    ],
)
def test_a_committed_write_drops_what_read_its_tables(world: World, sql: str) -> None:
    """Whatever the write is spelled like, the next reader asks the server."""
    world.run(world.session(), SQL)
    world.write(world.session(), sql)
    assert world.run(world.session(), SQL) == "miss"
    assert world.stats["invalidations"] == 1


@pytest.mark.parametrize("sql", ["UPDATE users SET name = 'x'", "SELECT harmless()", "CREATE INDEX ON orders (id)"])
def test_other_statements_drop_nothing(world: World, sql: str) -> None:
    """A write to another table leaves the entry, and so does a function that cannot write."""
    world.beam.surveys.tell(
        ("function", "public", "harmless", "v"), ("code", "public", "harmless", "v", "plpgsql", "", "", "")
    )
    world.run(world.session(), SQL)
    world.write(world.session(), sql)
    assert world.run(world.session(), SQL) == "hit"


def test_a_failed_write_drops_nothing(world: World) -> None:
    """An error has changed no row."""
    world.run(world.session(), SQL)
    query = world.query(world.session(), "UPDATE products SET price = 1")
    world.execute(query)
    world.finish(query, error=("23514", "violates check constraint"))
    assert world.run(world.session(), SQL) == "hit"


@pytest.mark.parametrize(("committed", "then"), [(True, "miss"), (False, "hit")])
def test_a_transaction_drops_when_it_commits(world: World, committed: bool, then: str) -> None:
    """Until the commit others see the old rows, after a rollback they still do."""
    world.run(world.session(), SQL)
    writer = world.session()
    world.write(writer, "UPDATE products SET price = 1", committed=False)
    assert world.run(world.session(), SQL) == "hit"
    world.plugin.transaction_over(writer, committed)
    assert world.run(world.session(), SQL) == then


def test_a_transaction_that_was_rolled_back_is_forgotten(world: World) -> None:
    """The next commit of the same session is another transaction's."""
    world.run(world.session(), SQL)
    writer = world.session()
    world.write(writer, "UPDATE products SET price = 1", committed=False)
    world.plugin.transaction_over(writer, False)
    world.plugin.transaction_over(writer, True)
    assert world.run(world.session(), SQL) == "hit"


def test_what_was_read_before_a_write_is_not_kept_after_it(world: World) -> None:
    """The reader's reply arrives after the commit, but may be from before it."""
    reader = world.query(world.session(), SQL)
    world.execute(reader)
    world.write(world.session(), "UPDATE products SET price = 1")
    world.finish(reader, reply("old"))
    assert world.run(world.session(), SQL) == "miss"


@pytest.mark.parametrize("sql", ["UPDATE products SET price = 1", "COMMIT"])
def test_a_connection_lost_over_a_write_may_have_committed(world: World, sql: str) -> None:
    """The server may have done it before it went; so nothing from before is served."""
    world.run(world.session(), SQL)
    writer = world.session()
    if sql == "COMMIT":
        world.write(writer, "UPDATE products SET price = 1", committed=False)
        writer.status = b"T"
    query = world.query(writer, sql, in_transaction=writer.in_transaction)
    world.execute(query)
    world.finish(query, error=("08006", "server connection was lost"))
    assert world.run(world.session(), SQL) == "miss"


def test_a_client_that_leaves_over_its_write_may_have_committed(world: World) -> None:
    """No result comes for a client that is gone, and the server may go on."""
    world.run(world.session(), SQL)
    query = world.query(world.session(), "UPDATE products SET price = 1")
    world.execute(query)
    world.plugin.disconnect(query.session)
    assert world.run(world.session(), SQL) == "miss"


def test_a_connection_lost_over_a_statement_of_a_transaction_has_rolled_back(world: World) -> None:
    """Without a COMMIT on its way nothing can have been committed."""
    world.run(world.session(), SQL)
    writer = world.session()
    writer.status = b"T"
    query = world.query(writer, "UPDATE products SET price = 1", in_transaction=True)
    world.execute(query)
    world.plugin.disconnect(writer)
    assert world.run(world.session(), SQL) == "hit"


def test_every_write_of_a_lost_pipeline_may_have_committed(world: World) -> None:
    """Not only its last one."""
    world.run(world.session(), SQL)
    writer = world.session()
    pipeline = [world.query(writer, f"UPDATE {table} SET x = 1", values=()) for table in ("products", "users")]
    for query in pipeline:
        world.execute(query)
    for query in pipeline:
        world.finish(query, error=("08006", "server connection was lost"))
    assert world.run(world.session(), SQL) == "miss"


def test_a_client_that_leaves_its_transaction_open_drops_nothing(world: World) -> None:
    """Its transaction is rolled back."""
    world.run(world.session(), SQL)
    writer = world.session()
    world.write(writer, "UPDATE products SET price = 1", committed=False)
    world.plugin.disconnect(writer)
    assert world.run(world.session(), SQL) == "hit"


def test_with_invalidation_off_only_the_writer_sees_it_at_once() -> None:
    """Others wait for the TTL; who wrote never reads from before its own write, and then shares what it read."""
    world = World(invalidate="off")
    writer, other = world.session(), world.session()
    world.run(writer, SQL)
    world.write(writer, "UPDATE products SET price = 1")
    assert world.run(other, SQL) == "hit"
    assert world.run(writer, SQL, "new") == "miss"
    assert world.run(writer, SQL) == "hit"
    query = world.query(other, SQL)
    assert world.execute(query) == reply("new")


def test_the_writer_does_not_follow_a_query_from_before_its_write() -> None:
    """Waiting for another client's older query would hide one's own write."""
    world = World(invalidate="off")
    writer = world.session()
    leader = world.query(world.session(), SQL)
    world.execute(leader)
    world.write(writer, "UPDATE products SET price = 1")
    assert world.execute(world.query(writer, SQL)) is None


def test_nobody_reads_what_is_from_before_the_call_of_a_function(world: World) -> None:
    """What a function of users' own wrote is seen nowhere, so it may have been anything."""
    session = world.session()
    world.run(session, SQL)
    world.write(session, "SELECT add_order(1)")
    assert world.run(world.session(), SQL) == "miss"
    assert world.run(session, SQL) == "hit"


@pytest.mark.parametrize("sql", ["DO $$ BEGIN END $$", "CALL settle()", "INSERT INTO t SELECT 1 FORM x"])
def test_what_commits_inside_may_have_written_before_it_failed(world: World, sql: str) -> None:
    """An error of a block or procedure takes back only what came after its last COMMIT."""
    world.run(world.session(), SQL)
    query = world.query(world.session(), sql)
    assert world.execute(query) is None
    world.finish(query, error=("22012", "division by zero"))
    assert world.run(world.session(), SQL) == "miss"


@pytest.mark.parametrize("sqlstate", ["57P01", "08006", "40003", "XX000"])
def test_a_server_that_ends_in_the_middle_may_have_committed(world: World, sqlstate: str) -> None:
    """It may have been shut down while it waited for a replica, after its own commit."""
    world.run(world.session(), SQL)
    query = world.query(world.session(), "UPDATE products SET price = 1")
    assert world.execute(query) is None
    world.finish(query, error=(sqlstate, "terminating connection due to administrator command"))
    assert world.run(world.session(), SQL) == "miss"


def test_postgresqls_own_functions_write_nothing(world: World) -> None:
    """A session that asks for the time or for a number keeps its cache; what reads sequences is not cached."""
    session = world.session()
    world.run(session, SQL)
    world.write(session, "SELECT now(), version(), count(*), nextval('products_id_seq') FROM products")
    assert world.run(session, SQL) == "hit"


def test_databases_and_projects_are_apart(world: World) -> None:
    """A write to products in one database says nothing of products in another."""
    other = Project("other", Target("other", Role.PRIMARY, "db2", 5432))
    for session in (world.session(), world.session(database="archive"), world.session(project=other)):
        world.run(session, SQL)
    world.write(world.session(), "UPDATE products SET price = 1")
    assert world.run(world.session(), SQL) == "miss"
    assert world.run(world.session(database="archive"), SQL) == "hit"
    assert world.run(world.session(project=other), SQL) == "hit"


def test_very_many_tables_are_not_remembered_one_by_one(world: World) -> None:
    """Memory for names is bounded; past the bound everything counts as written."""
    world.run(world.session(), SQL)
    writer = world.session()
    state = world.plugin.cache.state_of(writer)
    for number in range(10_001):
        state.writes.wrote(state.writes.advance(), [f"t{number}"], everything=False)
    assert world.run(world.session(), SQL) == "miss"


@pytest.mark.parametrize(
    "sql", ["DROP DATABASE archive", "REVOKE reader FROM app", "ALTER ROLE app NOBYPASSRLS", "nobody knows what"]
)
def test_what_all_databases_have_in_common_drops_what_was_read_in_all(world: World, sql: str) -> None:
    """Databases and roles are changed from any database of the project; other projects are not concerned."""
    other = Project("other", Target("other", Role.PRIMARY, "db2", 5432))
    for session in (world.session(database="archive"), world.session(project=other)):
        world.run(session, SQL)
    world.write(world.session(), sql)
    assert world.run(world.session(database="archive"), SQL) == "miss"
    assert world.run(world.session(project=other), SQL) == "hit"


@pytest.mark.parametrize("sql", ["DO $$ BEGIN END $$", "CALL anything()", "EXECUTE prepared"])
def test_what_may_have_changed_anything_has_done_so_in_its_database(world: World, sql: str) -> None:
    """Procedures are called all the time, and write to tables of their own database."""
    world.run(world.session(database="archive"), SQL)
    world.write(world.session(), sql)
    assert world.run(world.session(database="archive"), SQL) == "hit"


def test_a_write_whose_end_nobody_hears_counts_again_and_again(world: World) -> None:
    """The server may be at it still: what was read before it was done is outdated when that took as long again."""
    writer = world.session()
    query = world.query(writer, "UPDATE products SET price = 1")
    world.execute(query)
    world.plugin.disconnect(writer)
    for seconds in (1, 2, 4, 8, 16):
        world.run(world.session(), SQL)
        world.clock.advance(seconds - 0.1)
        assert world.run(world.session(), SQL) == "hit"
        world.clock.advance(0.1)
        assert world.run(world.session(), SQL) == "miss"
    for _ in range(40):
        world.clock.advance(60)
    assert not world.clock.getDelayedCalls()


def test_doubts_end_with_pgbeam(world: World) -> None:
    """Stopping leaves no timer behind."""
    query = world.query(world.session(), "UPDATE products SET price = 1")
    world.execute(query)
    world.plugin.disconnect(query.session)
    world.plugin.shutdown(world.beam)  # type: ignore[arg-type]
    assert not world.clock.getDelayedCalls()
