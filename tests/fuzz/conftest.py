"""A real PgBeam in front of a real PostgreSQL, as the attacks have it."""

from tests.attacks.conftest import cluster, fort

__all__ = ["cluster", "fort"]
