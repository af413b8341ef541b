"""SQLAlchemy 2 over psycopg 3, psycopg2, asyncpg and pg8000, and Alembic on top of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from .. import loops
from ..beams import Direct

DRIVERS = ("psycopg", "psycopg2", "pg8000")


class Base(DeclarativeBase):
    """The tables of this file."""


class Author(Base):
    """Has books."""

    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list[Book]] = relationship(back_populates="author", order_by="Book.id")


class Book(Base):
    """Has an author."""

    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(sa.ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def url(leg: Direct, driver: str) -> str:
    """The URL for SQLAlchemy with that driver."""
    return leg.url().replace("postgresql://", f"postgresql+{driver}://")


@pytest.fixture(params=DRIVERS)
def engine(request: pytest.FixtureRequest, leg: Direct, fresh_shop: None) -> Iterator[sa.Engine]:
    """An engine per driver, disposed of afterwards."""
    made = sa.create_engine(url(leg, request.param), pool_size=3, pool_pre_ping=True)
    yield made
    made.dispose()


def test_orm(engine: sa.Engine) -> None:
    """Tables made, rows inserted in bulk, loaded with their relations, changed and deleted."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            Author(name=f"author {n}", books=[Book(title=f"book {n}-{b}") for b in range(3)]) for n in range(40)
        )
        session.commit()
        found = session.scalars(sa.select(Author).where(Author.name == "author 7")).one()
        assert [book.title for book in found.books] == ["book 7-0", "book 7-1", "book 7-2"]
        found.name = "renamed"
        session.commit()
        assert session.scalar(sa.select(sa.func.count()).select_from(Book)) == 120
    Base.metadata.drop_all(engine)


def test_reflection(engine: sa.Engine) -> None:
    """Reflecting the shop reads columns, keys and types from the catalog."""
    metadata = sa.MetaData()
    metadata.reflect(engine)
    assert {"categories", "products", "users", "orders", "accounts"} <= set(metadata.tables)
    assert [key.column.table.name for key in metadata.tables["orders"].foreign_keys] == ["users"]


def test_rollback_and_savepoint(engine: sa.Engine) -> None:
    """A savepoint rolls back alone, and the outer transaction commits."""
    with engine.begin() as conn:
        conn.execute(sa.text("UPDATE accounts SET balance = 11 WHERE id = 1"))
        with pytest.raises(sa.exc.DBAPIError), conn.begin_nested():
            conn.execute(sa.text("UPDATE accounts SET balance = -5 WHERE id = 1"))
    with engine.connect() as conn:
        assert conn.scalar(sa.text("SELECT balance::int FROM accounts WHERE id = 1")) == 11


def test_isolation_levels(engine: sa.Engine) -> None:
    """AUTOCOMMIT and SERIALIZABLE as execution options, each back to normal afterwards."""
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as conn:
        assert conn.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.text("SELECT 1" if engine.driver == "pg8000" else "VACUUM categories"))
    with engine.connect() as conn:
        assert conn.scalar(sa.text("SHOW transaction_isolation")) == "read committed"


def test_stream_results(leg: Direct, fresh_shop: None) -> None:
    """stream_results uses a server-side cursor."""
    engine = sa.create_engine(url(leg, "psycopg"))
    with engine.connect().execution_options(stream_results=True, max_row_buffer=50) as conn:
        rows = conn.execute(sa.text("SELECT i FROM generate_series(1, 1000) i"))
        assert sum(row.i for row in rows) == 500500
    engine.dispose()


def test_asyncpg_engine(leg: Direct, fresh_shop: None) -> None:
    """The asyncio engine over asyncpg with its own prepared statement cache."""

    async def work() -> None:
        engine = create_async_engine(url(leg, "asyncpg"), pool_size=2)
        for number in range(1, 10):
            async with engine.begin() as conn:
                query = sa.text("SELECT name FROM products WHERE id = :id")
                assert (await conn.execute(query, {"id": number})).scalar() == f"product {number}"
        await engine.dispose()

    loops.run(work())


ENV = """
from alembic import context
from sqlalchemy import create_engine
engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""
FIRST = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "0001", None
def upgrade():
    op.create_table("moved", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))
    op.create_index("moved_name", "moved", ["name"])
def downgrade():
    op.drop_table("moved")
"""
SECOND = """
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.execute("INSERT INTO moved VALUES (1, 'kept')")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY moved_id ON moved (id)")
def downgrade():
    op.execute("DROP INDEX moved_id")
"""


def test_alembic(leg: Direct, fresh_shop: None, tmp_path: Path) -> None:
    """Migrations up and down again, one of them with a CREATE INDEX CONCURRENTLY."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(ENV)
    (tmp_path / "versions" / "first.py").write_text(FIRST)
    (tmp_path / "versions" / "second.py").write_text(SECOND)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", url(leg, "psycopg"))
    command.upgrade(config, "head")
    with leg.cluster.connect() as boss:
        assert boss.execute("SELECT * FROM moved").fetchall() == [(1, "kept")]
    command.downgrade(config, "base")
    with leg.cluster.connect() as boss:
        assert boss.execute("SELECT to_regclass('moved')").fetchone() == (None,)
