"""Fixtures: the log is quiet, as in the tests of the modules."""

from tests.session.conftest import _quiet

__all__ = ["_quiet"]
