"""The conversations, by theme; importing this package registers them all."""

from __future__ import annotations

from . import (
    again,
    asynchronous,
    batches,
    bound_boundaries,
    copying,
    cursors,
    extended,
    large,
    lazy,
    mixtures,
    names,
    parameters,
    pinning,
    pipelines,
    prepared,
    prepared_sql,
    simple,
    startup,
    transactions,
    unfinished,
)

__all__ = [
    "again",
    "asynchronous",
    "batches",
    "bound_boundaries",
    "copying",
    "cursors",
    "extended",
    "large",
    "lazy",
    "mixtures",
    "names",
    "parameters",
    "pinning",
    "pipelines",
    "prepared",
    "prepared_sql",
    "simple",
    "startup",
    "transactions",
    "unfinished",
]
