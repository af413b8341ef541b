"""tools/census.py counts what it says."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest


def module(census: Any, name: str, text: str) -> Any:
    """A module of that text."""
    return census.Module(name, Path(f"{name}.py"), text.count("\n"), ast.parse(text))


@pytest.mark.parametrize(
    ("a", "b", "now", "late"),
    [
        ("import b", "import a", 1, 1),
        ("from b import x", "from a import y", 1, 1),
        ("import b", "def f():\n    import a", 0, 1),
        ("import b", "if TYPE_CHECKING:\n    import a", 0, 0),
        ("import b", "import sys", 0, 0),
    ],
)
def test_circles(census: Any, a: str, b: str, now: int, late: int) -> None:
    """Imports for types make none, those inside functions make late ones."""
    source = [module(census, "a", a), module(census, "b", b)]
    assert len(census.circles(source)) == now
    assert len(census.circles(source, late=True)) == late


def test_a_module_of_a_package_is_not_the_package(census: Any) -> None:
    """`from p import a` in a module of p is no circle where p imports that module."""
    source = [
        module(census, "p", "from p.b import f"),
        module(census, "p.a", ""),
        module(census, "p.b", "from p import a"),
    ]
    assert census.circles(source) == []


def test_writers(census: Any) -> None:
    """Assignments and deletions count, reading does not."""
    text = "x.phase = 1\nprint(x.phase)\nx.session.lease, y = 1, 2\nz.lease = 3\ndel x.phase\nx.phase += 1\n"
    source = [module(census, "a", text)]
    assert census.writers(source, "phase") == ["a:1", "a:5", "a:6"]
    assert census.writers(source, "lease", of="session") == ["a:3"]


def test_docstrings_of_few_words(census: Any) -> None:
    """Of modules, classes and functions."""
    text = '"""One two three four."""\nclass A:\n    """One two three four five."""\n    def f(self): "Nothing."\n'
    assert census.empty_docstrings([module(census, "a", text)]) == ["a:: One two three four.", "a:f: Nothing."]


def test_class_names(census: Any) -> None:
    """Twice in one module is once."""
    source = [module(census, "a", "class A: ...\nclass B: ...\n"), module(census, "b", "class A: ...\n")]
    assert census.classes_named_twice(source) == {"A": ["a", "b"]}


@pytest.mark.parametrize(
    ("test", "stray"),
    [
        ("session/test_state.py", False),
        ("session/test_whole_replies.py", False),
        ("session/fast_path/test_whole_replies.py", False),
        ("session/fast_path/test_state.py", True),
        ("session/test_session.py", False),
        ("session/test_scenes.py", True),
        ("core/test_service.py", False),
        ("core/test_state.py", True),
        ("plugins/cache/test_store.py", False),
        ("plugins/cache/test_cache.py", False),
        ("plugins/cache/test_state.py", True),
        ("elsewhere/test_state.py", True),
        ("test_state.py", True),
        ("behaviour/logins/test_anything.py", False),
        ("session/stage.py", False),
    ],
)
def test_tests_that_mirror_no_module(census: Any, tmp_path: Path, test: str, stray: bool) -> None:
    """A test is named after a module of the same folder or below, or after the folder, or stands where it need not."""
    sources = (
        *("pgbeam_core/service.py", "pgbeam_core/session/state.py", "pgbeam_core/session/fast_path/whole_replies.py"),
        *("plugins/cache/pgbeam_cache/__init__.py", "plugins/cache/pgbeam_cache/storage/store.py", f"tests/{test}"),
    )
    for name in sources:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert census.unmirrored_tests(tmp_path) == [f"tests/{test}"] * stray


def test_the_table_can_be_printed(census: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each count, and with --names what stands behind it."""
    assert census.main([]) == 0
    short = capsys.readouterr().out.splitlines()
    assert len(short) == len(census.table())
    assert census.main(["--names"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5 * len(short)
    assert census.main(["--nonsense"]) == 2
