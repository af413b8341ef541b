"""PostgreSQL servers that PgBeam starts and stops itself: the one behind `pgbeam run`, and those of tests."""

from __future__ import annotations

from pgbeam_core.embedded.binaries import EmbeddedError, find_binaries
from pgbeam_core.embedded.postgres import EmbeddedPostgres
from pgbeam_core.embedded.shop import shop_postgres

__all__ = ["EmbeddedError", "EmbeddedPostgres", "find_binaries", "shop_postgres"]
