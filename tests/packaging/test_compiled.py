"""tools/compile.py, and with TEST_COMPILED set what it made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import compile as tool

ROOT = Path(__file__).parents[2]


PROJECT = """\
[tool.hatch.build.targets.wheel]
packages = ["pgbeam_x"]
hooks.custom.modules = {pgbeam_x = ["a"]}
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of one module, on a machine that has what it takes to compile it."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "pgbeam_x").mkdir()
    (tmp_path / "pgbeam_x" / "a.py").write_text("A = 1")
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    monkeypatch.setattr(tool, "missing", lambda: "")
    return tmp_path


def compile_into(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Type the command."""
    command = [sys.executable, str(ROOT / "tools" / "compile.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environ})


@pytest.mark.skipif("TEST_COMPILED" not in os.environ, reason="for make test-compiled")
def test_what_tests_start_is_compiled(tmp_path):
    """A PgBeam that a test starts is the one that is to be tested."""
    pgbeam = Path(sys.executable).with_name("pgbeam")
    said = subprocess.run([pgbeam, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.endswith(" (compiled)\n")


def test_each_module_of_the_list_exists():
    """A module that is renamed or removed does not silently stay interpreted."""
    packages, modules = tool.plan()
    assert "pgbeam_core/api/query.py" in modules
    assert ROOT / "plugins/pool/pgbeam_pool" in packages


def test_a_name_that_no_module_has_is_an_error(project):
    """A typing error in the list is told."""
    (project / "pgbeam_x" / "a.py").unlink()
    with pytest.raises(tool.CannotCompile, match=r"pgbeam_x/a\.py compiled, which does not exist"):
        tool.plan()


def test_without_a_compiler_it_says_so(tmp_path):
    """Whoever asked for it learns what to install, in one line."""
    done = compile_into(tmp_path / "made", CC="no-such-compiler -O1")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the C compiler no-such-compiler is missing: ")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "made").exists()


def test_it_replaces_nothing_but_its_own(project, tmp_path):
    """A folder given by mistake keeps what is in it."""
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(tool.CannotCompile, match="holds something else"):
        tool.build(tmp_path)
    assert (tmp_path / "letter").read_text() == "dear"


def test_it_compiles_again_when_a_source_has_changed_and_not_before(project, monkeypatch):
    """Nobody waits for nothing, and nobody runs what they have just changed as it was before."""
    compiled = []
    monkeypatch.setattr(tool, "_compile", lambda folder, *_: compiled.append((folder / "pgbeam_x/a.py").read_text()))
    for text in ("A = 1", "A = 2", "A = 2", "A = 1"):
        (project / "pgbeam_x" / "a.py").write_text(text)
        tool.build(project / "made")
        assert (project / "made" / "pgbeam_x" / "a.py").read_text() == text
    assert compiled == ["A = 1", "A = 2", "A = 1"]
