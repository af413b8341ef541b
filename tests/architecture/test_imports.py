"""Who imports whom, as docs/architecture.md has it: the shape of the house is kept by a test, not by memory."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgbeam_core

ROOT = Path(__file__).parents[2]
CORE = ROOT / "pgbeam_core"
PLUGIN_FILES = sorted(ROOT.glob("plugins/*/pgbeam_*/**/*.py"))
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "advice": set(),
    "api": {"pluggy", "sql", "wire"},  # sql and wire inside functions only
    "wire": {"advice", "errors"},
    "sql": {"postgast", "sqlparse", "api"},
    "settings": {"dynaconf", "errors", "telemetry", "api", "wire"},
    "plugins": {"pluggy", "api", "errors", "settings"},
    "firing": {"twisted", "pluggy"},
    "session": {"twisted", "errors", "firing", "api", "internal", "wire"},
    "internal": {"twisted", "catalog", "errors", "api", "session", "wire"},
    "catalog": {"twisted", "errors", "api", "internal", "sql"},
    "net": {
        *("twisted", "zope", "cryptography", "api", "catalog", "console", "errors", "firing", "internal", "session"),
        *("settings", "wire"),
    },
    "console": {"twisted", "api", "errors", "session", "settings", "wire"},
    "control": {"twisted", "zope", "errors"},
    "doors": {"control", "net"},
    "telemetry": {"twisted", "zope", "api"},
    "beam": {
        *("twisted", "api", "catalog", "console", "control", "errors", "firing", "internal", "net", "session"),
        *("settings", "sql", "telemetry", "upstream"),
    },
    "upstream": {"twisted", "api", "errors", "internal", "net"},
    "service": {
        *(
            "twisted",
            "pluggy",
            "beam",
            "control",
            "doors",
            "errors",
            "firing",
            "net",
            "plugins",
            "settings",
            "telemetry",
            "web",
            "wire",
        ),
    },
    "web": {"twisted", "prometheus_client", "control", "net", "settings", "telemetry"},
    "embedded": {"errors"},
    "tui": {"rich", "twisted", "zope", "control", "errors", "telemetry"},
    "workers": {
        *("rich", "twisted", "zope", "cli", "control", "doors", "errors", "net", "plugins", "service", "settings"),
        *("telemetry", "tui", "wire"),
    },
    "cli": {
        *(
            "pluggy",
            "rich",
            "twisted",
            "uvloop",
            "api",
            "console",
            "control",
            "doors",
            "embedded",
            "errors",
            "net",
            "plugins",
            "service",
            "settings",
        ),
        *("telemetry", "tui", "workers"),
    },
    "testing": {
        *("pytest", "twisted", "api", "beam", "catalog", "errors", "firing", "internal", "net", "plugins", "session"),
        *("settings", "wire"),
    },
}
"""Part of the core → other parts and third parties that it may import."""
NOT_IN_THE_PAGE = {"errors", "twisted"}
"""What docs/architecture.md leaves out of its table."""
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ROWS = {
    part: set(re.findall(r"[a-z_]+", words.lower().replace("inside functions:", "")))
    for where, words in re.findall(r"^\| (\[.*?) \| .*? \| (.*?) \|$", PAGE, re.MULTILINE)
    for part in re.findall(r"\]\(\.\./pgbeam_core/(\w+)(?:\.py)?\)", where)
}
"""Part of the core → what its row in that table says."""


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, names taken from it) for each import that runs; those for type checkers do not."""

    def walk(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", tuple(alias.name for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    return walk(ast.parse(path.read_text(encoding="utf-8")))


def parts(path: Path) -> Iterator[str]:
    """The parts of the core, and the third parties, that a file imports."""
    for module, names in imports(path):
        top, _, rest = module.partition(".")
        if top == "pgbeam_core":
            yield from (rest.partition(".")[0],) if rest else names
        elif top not in sys.stdlib_module_names:
            yield top


def test_every_part_is_in_the_table():
    """A new part of the core says what it may import."""
    parts = {
        path.stem if path.suffix == ".py" else path.name
        for path in CORE.glob("[!_]*")
        if any(path.glob("*.py")) or path.suffix == ".py"
    }
    assert parts == set(MAY_IMPORT)


@pytest.mark.parametrize("part", sorted({*MAY_IMPORT, *ROWS}))
def test_the_page_says_what_each_part_may_import(part):
    """Who reads docs/architecture.md is told what holds: mend its row, or MAY_IMPORT here."""
    assert ROWS[part] == MAY_IMPORT[part] - NOT_IN_THE_PAGE


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_each_part_imports_only_what_it_may(part):
    """A part of the core that reaches for another one it has no business with is noticed."""
    files = sorted((CORE / part).rglob("*.py")) or [CORE / f"{part}.py"]
    for path in files:
        assert set(parts(path)) - {part} <= MAY_IMPORT[part], path.relative_to(ROOT)


@pytest.mark.parametrize("path", [*sorted((CORE / "api").glob("*.py")), CORE / "errors.py"], ids=lambda path: path.stem)
def test_the_contract_needs_nothing_at_import(path):
    """What hooks pass around can be imported without a parser or a reactor."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pgbeam_core"):
            assert (node.module or "").startswith("pgbeam_core.api")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = node.names[0].name if isinstance(node, ast.Import) else node.module or ""
            assert module.partition(".")[0] in {*sys.stdlib_module_names, "pluggy"}


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_built_in_plugins_use_the_public_names_only(path):
    """A built-in plugin has no right that a stranger's has not: it imports `pgbeam_core.__all__` and its own."""
    own = path.relative_to(ROOT / "plugins").parts[1]
    for module, names in imports(path):
        if module == "pgbeam_core":
            assert set(names) <= set(pgbeam_core.__all__)
        else:
            assert not module.startswith("pgbeam_") or module.partition(".")[0] == own, module


def test_the_core_imports_no_plugin():
    """The core knows its plugins by their entry points only."""
    built_in = {path.name for path in ROOT.glob("plugins/*/pgbeam_*")}
    for path in CORE.rglob("*.py"):
        assert not built_in & {module.partition(".")[0] for module, _ in imports(path)}, path.relative_to(ROOT)


@pytest.mark.parametrize("path", [*sorted(CORE.rglob("*.py")), *PLUGIN_FILES], ids=lambda path: str(path.name))
def test_a_logger_is_named(path):
    """Left to itself it takes its caller's name, which is the import system's in compiled modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Logger":
            assert node.args, f"{path.relative_to(ROOT)}:{node.lineno}: write Logger(__name__)"
