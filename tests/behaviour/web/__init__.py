"""Metrics, dashboard and API of a real PgBeam."""

from __future__ import annotations

from typing import Any

TOKEN = "a-token-of-24-characters"


def settings_of(port: int, **more: Any) -> dict[str, Any]:
    """Those of a PgBeam with a dashboard at that port, which may write."""
    dashboard = {"metrics_listen": f"127.0.0.1:{port}", "dashboard": True, "dashboard_token": TOKEN}
    return {**dashboard, "dashboard_write": True, **more}
