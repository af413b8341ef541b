"""The small shop in front of which a fresh PgBeam starts."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from pgbeam_core.embedded.account import private_folder, reachable, server_account
from pgbeam_core.embedded.binaries import EmbeddedError
from pgbeam_core.embedded.postgres import EmbeddedPostgres

DATABASE = "shop"
ROLE = "shop"
QUERY_TO_TRY = "SELECT name, price FROM products WHERE active LIMIT 3"


def shop_postgres(state_dir: Path, *, bin_dir: Path | None = None, durable: bool = True) -> EmbeddedPostgres:
    """The shop's cluster below `state_dir`, or, where its account cannot get there, below the temporary folder."""
    home = _home(state_dir)
    return EmbeddedPostgres(home / "postgres", bin_dir=bin_dir, durable=durable, on_ready=open_shop)


def _home(state_dir: Path) -> Path:
    account = server_account()
    if account is None:
        return state_dir
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"{state_dir}: {error.strerror}: make it writable, or set state_dir") from error
    if reachable(state_dir.absolute(), account):
        return state_dir
    name = hashlib.sha256(str(state_dir.absolute()).encode()).hexdigest()[:16]
    return private_folder(f"data-{name}", owner=None)


def open_shop(server: EmbeddedPostgres) -> None:
    """Make role, database and tables, each only if it is missing; the tables come all at once or not at all."""
    if server.psql(f"SELECT count(*) FROM pg_roles WHERE rolname = '{ROLE}'", "postgres") == "0":
        server.psql(f"CREATE ROLE {ROLE} LOGIN", "postgres")
    if server.psql(f"SELECT count(*) FROM pg_database WHERE datname = '{DATABASE}'", "postgres") == "0":
        server.psql(f"CREATE DATABASE {DATABASE} OWNER {ROLE}", "postgres")
    if server.psql("SELECT to_regclass('public.products') IS NULL", DATABASE) == "t":
        seed = resources.files("pgbeam_core.embedded").joinpath("shop.sql").read_text(encoding="utf-8")
        server.psql(f"BEGIN;\n{seed}\nCOMMIT;\nANALYZE;", DATABASE, user=ROLE)
    server.database, server.user = DATABASE, ROLE
