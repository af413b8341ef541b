"""The shapes of several workers as one listing."""

from __future__ import annotations

from typing import Any

from pgbeam_cache.surface.views import merged


def row(query_hash: str, **columns: Any) -> dict[str, Any]:
    """One shape as one worker saw it."""
    empty = {"query": "SELECT $1", "kind": "SELECT", "calls": 0, "hits": 0, "avg_ms": 0.0, "p95_ms": 0.0}
    more = {
        "avg_bytes": 0,
        "stability": None,
        "recommendation": "fair",
        "rule": None,
        "first_seen": "",
        "last_seen": "",
    }
    return {"project": "shop", "query_hash": query_hash, **empty, **more, **columns}


def test_calls_add_up_and_averages_stay_averages() -> None:
    """By how often each worker ran it; the advice is that of the worker that knows it best."""
    one = row("a", calls=30, hits=10, avg_ms=1.0, p95_ms=2.0, avg_bytes=100, stability=1.0, recommendation="good")
    two = row("a", calls=10, hits=0, avg_ms=5.0, p95_ms=9.0, avg_bytes=500, stability=None)
    seen = (
        {"first_seen": "2024-01-01", "last_seen": "2024-01-03"},
        {"first_seen": "2024-01-02", "last_seen": "2024-01-04"},
    )
    (shape,) = merged([[one | seen[0]], [two | seen[1]]])
    assert (shape["calls"], shape["hits"], shape["avg_ms"], shape["p95_ms"]) == (40, 10, 2.0, 9.0)
    assert (shape["avg_bytes"], shape["stability"], shape["recommendation"]) == (200, 1.0, "good")
    assert (shape["first_seen"], shape["last_seen"]) == ("2024-01-01", "2024-01-04")


def test_the_busiest_shapes_come_first() -> None:
    """Whichever worker they are from; a rule without a shape is listed once."""
    listings = [[row("a", calls=3), row("rule", rule="off")], [row("b", calls=5), row("rule", rule="off")]]
    assert [(shape["query_hash"], shape["calls"], shape["rule"]) for shape in merged(listings)] == [
        ("b", 5, None),
        ("a", 3, None),
        ("rule", 0, "off"),
    ]
