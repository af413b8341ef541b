"""The snippets of the guide for Python users, as they are written there, and what uses their results."""

from __future__ import annotations

HELLO = """
import os
import psycopg

conn = psycopg.connect(os.environ["DATABASE_URL"])

with conn.cursor() as cur:
    cur.execute("SELECT 'hello from pgbeam'")
    print(cur.fetchone())

conn.close()
"""
POOL = """
from psycopg_pool import ConnectionPool
import os

pool = ConnectionPool(
    conninfo=os.environ["DATABASE_URL"],
    min_size=1,
    max_size=5,  # PgBeam handles upstream pooling — keep this low
)

with pool.connection() as conn:
    with conn.cursor() as cur:
        cur.execute("SELECT 1")
        print(cur.fetchone())
"""
SQLALCHEMY_2 = """
import os
import re
from sqlalchemy import create_engine

# postgresql+psycopg:// uses psycopg 3 as the driver
url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", os.environ["DATABASE_URL"])
engine = create_engine(url, pool_size=5, max_overflow=0)
"""
SQLALCHEMY_1 = """
import os
from sqlalchemy import create_engine
engine = create_engine(os.environ["DATABASE_URL"], pool_size=5, max_overflow=0)
"""
USE_ENGINE = """
from sqlalchemy import text
with engine.begin() as conn:
    print(conn.execute(text("SELECT name FROM products WHERE id = :id"), {"id": 4}).scalar())
engine.dispose()
"""
DJANGO_MAX_AGE = """
import dj_database_url
import os
DATABASES = {
    "default": dj_database_url.config(
        default=os.environ["DATABASE_URL"],
        conn_max_age=600,
    )
}
"""
DJANGO_POOL = """
# Reduce Django's connection pool
DATABASES["default"]["CONN_MAX_AGE"] = 600
DATABASES["default"]["OPTIONS"] = {
    "pool": {
        "min_size": 1,
        "max_size": 5,
    }
}
"""
USE_DJANGO = """
import django
from django.conf import settings
settings.configure(DATABASES=DATABASES, INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"])
django.setup()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SELECT name FROM products WHERE id = %s", [4])
    print(cursor.fetchone()[0])
connection.close()
"""
ANNOTATED = """
# Cache for 5 minutes
cur.execute("/* @pgbeam:cache maxAge=300 */ SELECT * FROM categories")
print(len(cur.fetchall()))

# Disable caching for a specific query
cur.execute("/* @pgbeam:cache noCache */ SELECT balance FROM accounts WHERE id = %s", [account_id])
print(cur.fetchone())

# Route to a read replica
cur.execute("/* @pgbeam:replica */ SELECT * FROM products WHERE active = true")
print(len(cur.fetchall()))

# Combine with caching
cur.execute(
    "/* @pgbeam:replica */ /* @pgbeam:cache maxAge=600 */ SELECT * FROM categories"
)
print(len(cur.fetchall()))
"""
ERRORS = """
import psycopg
try:
    cur.execute("SELECT 1")
except psycopg.errors.TooManyConnections:
    # SQLSTATE 53300 — connection limit exceeded
    # Reduce pool size or upgrade plan
    caught = "too many connections"
except psycopg.errors.ConfigurationLimitExceeded:
    # SQLSTATE 53400 — query rate limit exceeded
    # Enable caching or upgrade plan
    caught = "rate limit"
except psycopg.OperationalError as e:
    if "circuit breaker" in str(e):
        # SQLSTATE 08006 — upstream unavailable
        # Retry with backoff
        caught = "circuit breaker"
"""
ALEMBIC_ENV = """
import os
from alembic import context
from sqlalchemy import create_engine
with create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
