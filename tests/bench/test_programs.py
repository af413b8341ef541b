"""Which PgBeam is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as program
from bench.programs import version_of_pgbeam

TELLS_ITS_VERSION = "print('pgbeam 9.8.7 (compiled)')"


def test_the_report_says_whether_it_was_compiled(tmp_path: Path) -> None:
    """Figures of a compiled PgBeam cannot be taken for those of another."""
    (tmp_path / "pgbeam_core").mkdir()
    (tmp_path / "pgbeam_core" / "__main__.py").write_text(TELLS_ITS_VERSION)
    (tmp_path / "pgbeam_core" / "__init__.py").touch()
    assert version_of_pgbeam(tmp_path) == "9.8.7 (compiled)"
    assert version_of_pgbeam(None).endswith(" (interpreted)")


def test_without_a_compiler_it_is_measured_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be compiled runs interpreted, and the reason is told."""
    monkeypatch.setenv("CC", "no-such-compiler")
    assert program._compiled() is None
    assert "PgBeam runs interpreted: error: the C compiler no-such-compiler is missing" in capsys.readouterr().err
