"""The simple query protocol."""

from __future__ import annotations

from ...frames import query, terminate
from ..dsl import HangUp, Script, ask, conversation, say


@conversation()
def simple_select() -> Script:
    """A simple query answers with its description, its row, its tag and ready."""
    yield ask("SELECT 1 AS one, 'two'::text AS two, NULL::int AS three")


@conversation()
def simple_many_rows() -> Script:
    """Rows come in the order in which the server sends them."""
    yield ask("SELECT i, repeat('x', i % 50) FROM generate_series(1, 2000) i ORDER BY i DESC")


@conversation()
def simple_no_rows() -> Script:
    """An empty result still has its description."""
    yield ask("SELECT id, name FROM products WHERE id < 0")


@conversation()
def simple_no_columns() -> Script:
    """A SELECT without columns has rows without values."""
    yield ask("SELECT FROM products LIMIT 3")


@conversation()
def simple_types() -> Script:
    """Values of many types arrive in the server's spelling."""
    yield ask(
        "SELECT 1::int2, 2::int8, 1.5::float4, 0.1::float8, 1.10::numeric, true, 'x'::char, 'v'::varchar(5), "
        "date '2024-02-29', time '12:34:56.789', timestamptz '2024-01-01 00:00+02', interval '1 mon 2 days', "
        "'\\xdeadbeef'::bytea, '{1,NULL,3}'::int[], '{\"a\": [1]}'::jsonb, '10.0.0.1/8'::inet, "
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '[1,5)'::int4range, ROW(1,'a'), point '(1,2)'"
    )


@conversation()
def simple_user_types() -> Script:
    """Descriptions name the types that users made."""
    yield ask("DROP TYPE IF EXISTS mood CASCADE; CREATE TYPE mood AS ENUM ('sad', 'ok')")
    yield ask("SELECT 'ok'::mood, ARRAY['sad'::mood], NULL::products")


@conversation()
def simple_empty_queries() -> Script:
    """Empty texts of every kind get EmptyQueryResponse."""
    yield ask("")
    yield ask(";")
    yield ask("  -- only a comment")
    yield ask("/* only a comment */ ; ;")


@conversation()
def simple_syntax_error() -> Script:
    """A syntax error has its position, file, line and routine, and the session goes on."""
    yield ask("SELEC 1")
    yield ask("SELECT 1 FROM")
    yield ask("SELECT 'open")
    yield ask("SELECT 2")


@conversation()
def simple_runtime_error() -> Script:
    """An error after some rows have been sent comes after them."""
    yield ask("SELECT 10 / (5 - i) FROM generate_series(1, 10) i")
    yield ask("SELECT 1")


@conversation()
def simple_error_fields() -> Script:
    """Constraint errors carry schema, table, column, constraint and detail."""
    yield ask("INSERT INTO users (id, name) VALUES (1, 'again')")
    yield ask("INSERT INTO users (id) VALUES (999)")
    yield ask("INSERT INTO orders (user_id) VALUES (-1)")
    yield ask("UPDATE accounts SET balance = -1 WHERE id = 1")
    yield ask("SELECT * FROM does_not_exist")
    yield ask("SELECT nothing FROM users")


@conversation()
def simple_raised_errors() -> Script:
    """Errors raised by functions keep their code, detail, hint and context."""
    yield ask(
        "DO $$ BEGIN RAISE 'broken %', 1 USING ERRCODE = 'P0042', DETAIL = 'the detail', HINT = 'the hint', "
        "COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 'd', TABLE = 't', SCHEMA = 's'; END $$"
    )
    yield ask("SELECT 1")


@conversation()
def multi_statement() -> Script:
    """Several statements in one text answer one after another, with one ready."""
    yield ask("SELECT 1; SELECT 2 AS b, 3; ; VALUES ('x'), ('y')")


@conversation()
def multi_statement_error_in_second() -> Script:
    """An error in the second of three statements ends the text and undoes the first."""
    yield ask("INSERT INTO categories VALUES (77, 'undone'); SELECT 1/0; SELECT 'never'")
    yield ask("SELECT count(*) FROM categories WHERE id = 77")


@conversation()
def multi_statement_syntax_error_in_second() -> Script:
    """A syntax error anywhere in the text means that nothing of it runs."""
    yield ask("SELECT 1; SELEC 2")


@conversation(pins=True)
def multi_statement_with_begin() -> Script:
    """A text may open a transaction that the next text closes."""
    yield ask("SELECT 1; BEGIN; SELECT 2")
    yield ask("INSERT INTO categories VALUES (78, 'kept'); COMMIT; SELECT 3")
    yield ask("SELECT count(*) FROM categories WHERE id = 78; DELETE FROM categories WHERE id = 78")


@conversation()
def multi_statement_commit_in_the_middle() -> Script:
    """COMMIT in the middle of a text ends the implicit block, with PostgreSQL's warning."""
    yield ask("INSERT INTO categories VALUES (79, 'x'); COMMIT; SELECT 1/0")
    yield ask("SELECT count(*) FROM categories WHERE id = 79")
    yield ask("DELETE FROM categories WHERE id = 79; ROLLBACK; SELECT count(*) FROM categories WHERE id = 79")
    yield ask("DELETE FROM categories WHERE id = 79")


@conversation()
def multi_statement_savepoint_outside() -> Script:
    """SAVEPOINT in an implicit block is refused as PostgreSQL refuses it."""
    yield ask("SELECT 1; SAVEPOINT a")
    yield ask("SAVEPOINT b")


@conversation()
def several_queries_in_one_packet() -> Script:
    """Simple queries sent without waiting answer in turn."""
    yield say(query("SELECT 1"), query("SELECT 1/0"), query("SELECT 3"), times=3)


@conversation()
def byte_by_byte() -> Script:
    """A message may arrive in pieces of one byte."""
    yield say(query("SELECT 'in small pieces', 42"), chunk=1)
    yield say(query("SELECT 1"), query("SELECT 2"), times=2, chunk=3)


@conversation()
def non_ascii_text() -> Script:
    """Texts, names and values in UTF-8 pass unharmed, bad UTF-8 is refused by the server."""
    yield ask("SELECT 'Grüße, Καλημέρα, こんにちは, 🐘' AS \"größe\"")
    yield ask(b"SELECT '\xff\xfe'")
    yield ask("SELECT 1")


@conversation()
def comments_and_odd_spacing() -> Script:
    """Comments, nested comments, dollar quotes and odd spacing reach the server as they are, positions included."""
    yield ask("/* a /* nested */ b */\n\t SELECT -- x\n 1 /* c */ + \r\n 1")
    yield ask("SELECT $tag$ it's ; not the end $tag$, E'a\\'b;', U&'d\\0061t'")
    yield ask("/* a comment before */ SELECT nope")


@conversation()
def dml_tags() -> Script:
    """INSERT, UPDATE, DELETE, MERGE and SELECT INTO give their own tags."""
    yield ask("BEGIN")
    yield ask("INSERT INTO categories SELECT i, 'n' FROM generate_series(100, 109) i")
    yield ask("UPDATE categories SET name = 'm' WHERE id >= 105 RETURNING id, name")
    yield ask("DELETE FROM categories WHERE id >= 108")
    yield ask("SELECT * INTO categories_copy FROM categories")
    yield ask(
        "MERGE INTO categories c USING (VALUES (100)) v(id) ON c.id = v.id WHEN MATCHED THEN UPDATE SET name = 'z'"
    )
    yield ask("ROLLBACK")


@conversation()
def ddl_tags(me: str) -> Script:
    """DDL gives its tags, notices come before them."""
    yield ask(f"CREATE TABLE t_{me} (id int PRIMARY KEY, v text)")
    yield ask(f"CREATE TABLE IF NOT EXISTS t_{me} (id int)")
    yield ask(f"ALTER TABLE t_{me} ADD COLUMN w int DEFAULT 3")
    yield ask(f"CREATE INDEX ON t_{me} (w)")
    yield ask(f"CREATE VIEW v_{me} AS SELECT * FROM t_{me}")
    yield ask(f"DROP TABLE t_{me}")
    yield ask(f"DROP TABLE t_{me} CASCADE")
    yield ask(f"DROP TABLE IF EXISTS t_{me}")


@conversation()
def utility_outside_transaction() -> Script:
    """Commands that refuse to run in a transaction run alone and are refused inside one."""
    yield ask("VACUUM categories")
    yield ask("BEGIN")
    yield ask("VACUUM categories")
    yield ask("ROLLBACK")
    yield ask("SELECT 1; VACUUM categories")
    yield ask("CHECKPOINT")


@conversation()
def explain_and_show() -> Script:
    """EXPLAIN and SHOW answer like queries."""
    yield ask("EXPLAIN (COSTS off) SELECT * FROM products WHERE id = 1")
    yield ask("SHOW server_encoding")
    yield ask("SHOW no_such_setting")
    yield ask("SHOW server_encoding; SELECT 1")


@conversation(pins=True)
def procedures_that_commit(me: str) -> Script:
    """CALL of a procedure that commits works outside a transaction and fails inside one."""
    yield ask(
        f"CREATE OR REPLACE PROCEDURE p_{me}(INOUT n int) LANGUAGE plpgsql AS "
        "$$ BEGIN n := n + 1; COMMIT; n := n + 1; END $$"
    )
    yield ask(f"CALL p_{me}(1)")
    yield ask("BEGIN")
    yield ask(f"CALL p_{me}(1)")
    yield ask("ROLLBACK")


@conversation()
def terminate_ends_it() -> Script:
    """Terminate closes the connection without another word."""
    yield ask("SELECT 1")
    yield HangUp(terminate())


@conversation()
def query_and_terminate_together() -> Script:
    """A query sent together with Terminate is still answered."""
    yield HangUp(query("SELECT 'last words'") + terminate())
