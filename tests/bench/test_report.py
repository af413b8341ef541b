"""What a reader gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import plot
from bench.errors import Skipped
from bench.figures import Goal, Result, Sample
from bench.report import Report, table

FACTS = {"processor": "one", "cores": "2"}


def select() -> Result:
    """A measured work in which PgBouncer could not take part."""
    samples = {
        "direct": [Sample(rate=1000.0, postgres_us=60.0, client_us=10.0, p50_ms=1.0, p99_ms=3.0)],
        "pgbeam": [Sample(rate=1500.0, proxy_us=9.6, postgres_us=17.0, client_us=10.0)],
    }
    goals = (Goal(1.4, "direct"), Goal(1.5, "pgbouncer"))
    return Result("select by key", "select", "transaction", goals, samples, {"pgbouncer": "not supported"})


def idle() -> Result:
    """Memory of clients that do nothing."""
    samples = {"pgbeam": [Sample(rate=500.0, bytes_each=9_000.0, clients=10_000)]}
    return Result("idle", "idle", "connection", (Goal(25_000, None, "bytes_each"),), samples)


def test_the_tables_say_rates_costs_and_goals() -> None:
    """Each figure stands where its header says; what is missing is a dash, with the reason below."""
    text = Report([select(), idle()], FACTS, {"pgpool": "not installed"}).markdown()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert ["select by key", "1,000", "–", "–", "–", "–", "1,500", "–", "1.50", "–"] in rows
    assert ["select by key", "direct", "–", "60.0", "10.0", "70.0", "1.00", "3.00", "3.0"] in rows
    assert ["select by key", "PgBeam", "9.6", "17.0", "10.0", "36.6", "–", "–", "–"] in rows
    assert ["idle", "PgBeam", "10,000", "9,000", "500"] in rows
    assert ["select by key", "rate ≥ 1.4 × direct", "1.50", "yes"] in rows
    assert ["idle", "bytes per client ≤ 25,000", "9,000", "yes"] in rows
    assert not any("PgBouncer" in cell for row in rows for cell in row if "≥" in cell)
    assert "- pgpool-II: not installed\n- PgBouncer at select by key: not supported" in text


def batch() -> Result:
    """Rows inserted at once, and who asked meanwhile."""
    samples = {"pgbeam": [Sample(rate=100_000.0, beside_ms=0.5, longest_ms=7.25)]}
    return Result("batch of 20,000, raw", "batch", "row", (), samples, units=20_000)


def test_a_batch_is_told_with_the_waits_beside_it() -> None:
    """How long it took, and how long another client had to wait meanwhile."""
    text = Report([batch()], FACTS, {}).markdown()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert ["batch of 20,000, raw", "PgBeam", "200", "0.50", "7.2"] in rows


def test_every_sample_is_in_the_json() -> None:
    """Whoever mistrusts medians can look at the runs."""
    read = json.loads(Report([select()], FACTS, {}).json())
    assert read["facts"] == FACTS
    assert read["results"][0]["samples"]["direct"][0]["rate"] == 1000.0


def test_a_table_lines_up_as_plain_text() -> None:
    """Numbers stand to the right, words to the left."""
    assert table(["what", "n"], [["a", "1,000"], ["bcdef", "–"]]).splitlines() == [
        "| what  |     n |",
        "|-------|------:|",
        "| a     | 1,000 |",
        "| bcdef |     – |",
    ]


def test_without_its_library_there_is_a_word_instead_of_a_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables do not need matplotlib."""

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(plot, "import_module", missing)
    with pytest.raises(Skipped, match="matplotlib"):
        plot.draw([select()], tmp_path / "rates.png")
    assert not list(tmp_path.iterdir())


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    """Where matplotlib is installed there is a picture."""
    pytest.importorskip("matplotlib")
    plot.draw([select(), idle()], tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
