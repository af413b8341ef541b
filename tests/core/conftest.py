"""Fixtures: plugins that are installed for the length of one test."""

from tests.cli.conftest import install, site

__all__ = ["install", "site"]
