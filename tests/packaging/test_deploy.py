"""What is in deploy/ for Prometheus and Grafana asks for metrics that there are, and leads to pages that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgbeam_core import plugins
from pgbeam_core.api.results import Result
from pgbeam_core.settings import Merged, validate
from pgbeam_core.settings.where import Origin
from pgbeam_core.telemetry import metrics
from pgbeam_core.telemetry.stats import ProjectStats

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = (DEPLOY / "alerts.yml").read_text("utf-8")
PANELS = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))["panels"]
OPERATING = (ROOT / "docs" / "operating.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
_NAME = re.compile(r"\bpgbeam_[a-z0-9_]+")
_SUFFIX = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}


def served(tmp_path: Path) -> set[str]:
    """Names of all metrics that a PgBeam with the default plugins serves."""
    from twisted.internet.testing import MemoryReactorClock

    from pgbeam_core.service import PgBeamService
    from pgbeam_core.settings import Endpoint

    merged = Merged()
    order = ("limits", "cache", "replica", "pool", "debug")
    project = {"upstream": "postgresql://127.0.0.1:1/x", "replicas": ["postgresql://127.0.0.1:2/x"]}
    tree: dict[str, Any] = {"plugins": {"order": list(order)}, "projects": {"shop": project}}
    merged.lay({**tree, "state_dir": str(tmp_path)}, Origin("test"))
    manager = plugins.load_plugins(order)
    settings = validate(merged, plugins.specs(manager))
    service = PgBeamService(settings, manager, MemoryReactorClock())
    done = service.prepare()
    try:
        stats = ProjectStats()
        stats.executed(Result("server"))
        families = [*service.metrics(), *metrics.of_projects({"shop": stats})]
        from pgbeam_core.web.site import Web

        object.__setattr__(service.settings, "metrics_listen", Endpoint("127.0.0.1", 0))
        families += list(Web(service)._own())
    finally:
        service.stop()
        done.addErrback(lambda _: None)
    return {f"{each['name']}{suffix}" for each in families for suffix in _SUFFIX[each["kind"]]}


def expressions() -> Iterator[str]:
    """All that Prometheus is asked."""
    yield from re.findall(r"^        expr: (.*)$", ALERTS, re.MULTILINE)
    yield from (target["expr"] for panel in PANELS for target in panel.get("targets", ()))


def test_every_metric_that_is_asked_for_is_served(tmp_path: Path) -> None:
    """A panel stays empty, and an alert silent, if its metric has another name."""
    asked = {name for expression in expressions() for name in _NAME.findall(expression)}
    assert len(asked) > 30
    there = served(tmp_path) | {"pgbeam_workers_ready"}
    assert asked - there == set()


def test_every_metric_on_the_page_is_served(tmp_path: Path) -> None:
    """Whoever reads about a metric finds it."""
    there = served(tmp_path) | {"pgbeam_workers_ready", "pgbeam_plugin_stats"}
    for line in PAGE.splitlines():
        if not line.startswith("| `pgbeam_"):
            continue
        names = re.findall(r"`([a-z0-9_]+)`", line.split("|")[1])
        prefix = "_".join(names[0].split("_")[:2])
        for name in names:
            whole = name if name.startswith("pgbeam_") else prefix + name
            assert any(each in there for each in (whole, f"{whole}_count")), whole


def test_every_alert_has_a_runbook() -> None:
    """Whoever is woken up finds what it means and what to do."""
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    links = re.findall(r"runbook_url: docs/operating.md#(\w+)", ALERTS)
    assert links == [alert.lower() for alert in alerts]
    for alert in alerts:
        runbook = OPERATING.partition(f"### {alert}\n")[2].partition("\n### ")[0]
        assert "means" in runbook.lower(), alert
        assert len(runbook.split()) > 40, alert


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_prometheus_takes_the_rules() -> None:
    """As its own tool says."""
    done = subprocess.run(
        ["promtool", "check", "rules", str(DEPLOY / "alerts.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_prometheus_understands_every_panel(tmp_path: Path) -> None:
    """Each expression of the Grafana dashboard is PromQL, once its variables have values."""
    rules = []
    for number, expression in enumerate(expressions()):
        filled = re.sub(r"\$__\w+", "5m", expression).replace("$instance", ".*").replace("$project", ".*")
        rules.append(f"      - record: r{number}\n        expr: {json.dumps(filled)}\n")
    file = tmp_path / "rules.yml"
    file.write_text("groups:\n  - name: panels\n    rules:\n" + "".join(rules))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
