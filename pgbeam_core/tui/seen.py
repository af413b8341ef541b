"""How a PgBeam is, as plain data, for a TUI in another process."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.text import Text

from pgbeam_core.telemetry.samples import Watched

PANEL_WIDTH = 160
"""The TUI cuts what does not fit."""


def seen(service: Watched, up_s: float) -> dict[str, Any]:
    """All that `asking.Elsewhere` is made from, as JSON can hold it."""
    return {
        "stats": service.stats(),
        "latencies": service.latencies(),
        "panels": [(name, printed(panel)) for name, panel in service.panels()],
        "addresses": [list(address) for address in service.addresses],
        "up_s": round(up_s, 1),
        "log_level": service.settings.log_level,
        "projects": list(service.settings.projects),
    }


def printed(panel: Any) -> str:
    """What a plugin gave for the TUI, as text with colours. One that cannot be printed costs only itself."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=PANEL_WIDTH, legacy_windows=False)
    try:
        console.print(Text(panel) if isinstance(panel, str) else panel, end="")
    except Exception as error:
        return f"cannot be shown: {error}"
    return text.getvalue()
