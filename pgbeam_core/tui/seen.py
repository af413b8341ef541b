"""How a PgBeam is, as plain data, for a TUI in another process."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from pgbeam_core.telemetry.samples import Watched

PANEL_WIDTH = 160
"""The TUI cuts what does not fit."""
PANELS_EVERY_S = 1.0
"""To print what plugins draw takes longer than all the rest, and the loop waits: it is done no more often."""


class Viewed:
    """What those see who look at a service. `now` gives monotonic seconds, `began` is when it began."""

    def __init__(self, service: Watched, now: Callable[[], float], began: float) -> None:
        self._service = service
        self._now = now
        self._began = began
        self._printed: tuple[float, list[tuple[str, str]]] | None = None

    def view(self) -> dict[str, Any]:
        """All that `asking.Elsewhere` is made from, as JSON can hold it."""
        service = self._service
        return {
            "stats": service.stats(),
            "latencies": service.latencies(),
            "panels": self._panels(),
            "addresses": [list(address) for address in service.addresses],
            "up_s": round(self._now() - self._began, 1),
            "log_level": service.settings.log_level,
            "projects": list(service.settings.projects),
        }

    def _panels(self) -> list[tuple[str, str]]:
        now = self._now()
        if self._printed is None or now - self._printed[0] >= PANELS_EVERY_S:
            self._printed = now, [(name, printed(panel)) for name, panel in self._service.panels()]
        return self._printed[1]


def printed(panel: Any) -> str:
    """What a plugin gave for the TUI, as text with colours. One that cannot be printed costs only itself."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=PANEL_WIDTH, legacy_windows=False)
    try:
        console.print(Text(panel) if isinstance(panel, str) else panel, end="")
    except Exception as error:
        return f"cannot be shown: {error}"
    return text.getvalue()
