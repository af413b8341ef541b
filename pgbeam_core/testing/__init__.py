"""For authors of plugins: a PostgreSQL that says what it is told, and a PgBeam without sockets or real time.

    rehearsal = Rehearsal({"mine": plugin}, settings={"mine": {"limit": 3}})
    client = rehearsal.login("app")
    assert client.query("SELECT 1").rows == [("1",)]

`pgbeam_core.testing.fixtures` is a pytest plugin with the fixture `rehearse`.
"""

from pgbeam_core.testing.chunks import Chunks, byte_by_byte, in_one_piece, randomly
from pgbeam_core.testing.clients import Client, Reply
from pgbeam_core.testing.fake_postgres import FakePostgres
from pgbeam_core.testing.frames import answer, bound_query, done, error, query, startup, table
from pgbeam_core.testing.rehearsal import Rehearsal

__all__ = [
    "Chunks",
    "Client",
    "FakePostgres",
    "Rehearsal",
    "Reply",
    "answer",
    "bound_query",
    "byte_by_byte",
    "done",
    "error",
    "in_one_piece",
    "query",
    "randomly",
    "startup",
    "table",
]
