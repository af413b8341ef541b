"""What a PgBeam tells those who look at it from another process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pgbeam_core.tui.seen import PANELS_EVERY_S, Viewed


def test_many_who_look_have_panels_drawn_once() -> None:
    """However many look, and how often: to draw them holds up the loop; counters are those of the moment."""
    drawn: list[int] = []
    now = 100.0

    def panels() -> list[tuple[str, Any]]:
        drawn.append(len(drawn))
        return [("limits", f"drawn {len(drawn)}")]

    service: Any = SimpleNamespace(
        stats=lambda: {"at": now},
        latencies=dict,
        panels=panels,
        addresses=[("127.0.0.1", 6432)],
        settings=SimpleNamespace(log_level="info", projects={"shop": None}),
    )
    seen = Viewed(service, lambda: now, 40.0)
    first = seen.view()
    now += PANELS_EVERY_S / 2
    second = seen.view()
    assert (first["panels"], first["up_s"]) == ([("limits", "drawn 1")], 60.0)
    assert second["panels"] == first["panels"]
    assert second["stats"] == {"at": now}
    now += PANELS_EVERY_S
    assert seen.view()["panels"] == [("limits", "drawn 2")]
