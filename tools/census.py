"""Counts what this code is made of, as a newcomer would meet it, and prints a table.

    python tools/census.py              the table
    python tools/census.py --names      what stands behind the numbers: which circles, words, writers …

tests/architecture keeps the numbers from growing.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FEW_WORDS = 4
"""A docstring of so few words says what its name says already."""
NO_MIRROR = {
    "behaviour": "what users see, sorted by that: most of it passes through many modules",
    "attacks": "hostile clients, in front of the whole of PgBeam",
    "fuzz": "texts and conversations that are drawn, for every module that reads them",
    "architecture": "the source as a whole: layers, sizes, words",
    "docs": "what the documentation and the examples in it promise",
    "packaging": "what is shipped: wheels, compiled modules, what is in deploy/",
}
"""Folders of tests that are about no module of their name, and why; all others mirror the source."""
Node = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Module(NamedTuple):
    """One file of the source."""

    name: str
    path: Path
    lines: int
    tree: ast.Module


class Function(NamedTuple):
    """One function or method."""

    module: Module
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def lines(self) -> int:
        """From its name to its last line, the decorators aside."""
        return (self.node.end_lineno or self.node.lineno) - self.node.lineno + 1


def modules() -> list[Module]:
    """All modules of the core and of the built-in plugins, by name."""
    roots = [(ROOT, ROOT / "pgbeam_core"), *((path.parent, path) for path in sorted(ROOT.glob("plugins/*/pgbeam_*")))]
    found = []
    for top, folder in roots:
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            found.append(Module(name, path, text.count("\n"), ast.parse(text)))
    return found


def functions(source: Iterable[Module]) -> list[Function]:
    """All of them, nested ones too."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [Function(module, node) for module in source for node in ast.walk(module.tree) if isinstance(node, kinds)]


def docstrings(source: Iterable[Module]) -> Iterator[tuple[str, str]]:
    """(where, docstring) of modules, classes and functions."""
    for module in source:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Module | Node) and (text := ast.get_docstring(node)):
                yield f"{module.name}:{getattr(node, 'name', '')}", text


def imported(module: Module, known: set[str], *, late: bool) -> set[str]:
    """The modules among these that it imports, not for types only; `late`: inside functions too."""

    def walk(node: ast.AST) -> Iterator[str]:
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.ImportFrom) and each.module:
                for alias in each.names:
                    inner = f"{each.module}.{alias.name}"
                    yield inner if inner in known else each.module
            elif isinstance(each, ast.Import):
                yield from (alias.name for alias in each.names)
            elif isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test):
                continue
            elif late or not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(each)

    return {name for name in walk(module.tree) if name in known} - {module.name}


def circles(source: list[Module], *, late: bool = False) -> list[list[str]]:
    """Groups of modules each of which imports, over others, itself."""
    known = {module.name for module in source}
    uses = {module.name: imported(module, known, late=late) for module in source}
    reach = {name: _reached(name, uses) for name in known}
    found = {frozenset(other for other in reach[name] if name in reach[other]) for name in known if name in reach[name]}
    return sorted(sorted(group) for group in found)


def _reached(name: str, uses: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [*uses[name]]
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += uses[each]
    return found


def writers(source: Iterable[Module], attribute: str, of: str = "") -> list[str]:
    """Where an attribute is assigned to, or deleted; `of`: only of an object that is called so."""
    found = []
    for module in source:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr == attribute and isinstance(node.ctx, ast.Store | ast.Del):
                owner = ast.unparse(node.value).rpartition(".")[2]
                if not of or owner == of:
                    found.append(f"{module.name}:{node.lineno}")
    return found


def classes_named_twice(source: Iterable[Module]) -> dict[str, list[str]]:
    """Names of classes that several modules have, and which."""
    where: dict[str, list[str]] = defaultdict(list)
    for module in source:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef):
                where[node.name].append(module.name)
    return {name: places for name, places in sorted(where.items()) if len(places) > 1}


def methods_named_often(source: Iterable[Module], at_least: int = 5) -> dict[str, int]:
    """Public methods of one name in so many classes: they cannot be searched for."""
    count: Counter[str] = Counter()
    for module in source:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                names = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                count.update(name for name in names if not name.startswith("_"))
    return {name: number for name, number in count.most_common() if number >= at_least}


def empty_docstrings(source: Iterable[Module]) -> list[str]:
    """Docstrings of few words, with where they stand."""
    return [f"{where}: {text}" for where, text in docstrings(source) if len(text.split()) <= FEW_WORDS]


def mirrored(source: Iterable[Module]) -> tuple[list[str], list[str]]:
    """(modules that have a test of their name, those that have none); `__init__` files aside."""
    tests = {path.stem.removeprefix("test_") for path in ROOT.glob("tests/**/test_*.py")}
    have: list[str] = []
    lack: list[str] = []
    for module in source:
        if module.path.stem not in ("__init__", "__main__"):
            (have if module.path.stem in tests else lack).append(module.name)
    return have, lack


def unmirrored_tests(root: Path = ROOT) -> list[str]:
    """Files of tests that are named after no module, outside of the folders that need not be."""
    found = []
    for path in sorted(root.glob("tests/**/test_*.py")):
        test = path.relative_to(root / "tests")
        if test.parts[0] not in NO_MIRROR and test.stem.removeprefix("test_") not in _modules_beside(root, test):
            found.append(str(path.relative_to(root)))
    return found


def _modules_beside(root: Path, test: Path) -> set[str]:
    """What a test in that folder may be named after: the modules and packages of the source's folder, and itself."""
    folder = test.parent
    if not folder.parts:
        return set()
    if folder.parts[0] == "core":  # the modules that stand in no package of pgbeam_core
        return {path.stem for path in (root / "pgbeam_core").glob("*.py")}
    source = root / folder if folder.parts[0] in ("plugins", "bench") else root / "pgbeam_core" / folder
    inside = {path.stem.removeprefix("pgbeam_") for path in source.rglob("*") if path.suffix == ".py" or path.is_dir()}
    return inside | ({source.name} if source.is_dir() else set())


def root_files() -> list[str]:
    """The modules that stand in the core's own folder, in no package of it."""
    return sorted(path.name for path in (ROOT / "pgbeam_core").glob("*.py") if not path.stem.startswith("__"))


def table() -> list[tuple[str, str, list[str]]]:
    """(what, how many, what stands behind it)."""
    source = modules()
    session = [module for module in source if module.name.startswith("pgbeam_core.session")]
    found = functions(source)
    sizes = sorted(function.lines for function in found)
    long = [f"{each.module.name}.{each.node.name}: {each.lines}" for each in found if each.lines > 50]
    large = [f"{module.name}: {module.lines}" for module in source if module.lines > 300]
    rings, late = circles(source), circles(source, late=True)
    phase, lease = writers(session, "phase"), writers(session, "lease", of="session")
    twice = classes_named_twice(source)
    often = methods_named_often(source)
    words = list(docstrings(source))
    few = empty_docstrings(source)
    have, lack = mirrored(source)
    stray = unmirrored_tests()
    return [
        ("files", str(len(source)), []),
        ("lines of the median file", str(int(statistics.median(module.lines for module in source))), []),
        ("files over 300 lines", str(len(large)), large),
        ("functions", str(len(sizes)), []),
        ("lines of the median function", str(int(statistics.median(sizes))), []),
        ("functions over 50 lines", str(len(long)), long),
        ("circles between files", str(len(rings)), [" ".join(ring) for ring in rings]),
        ("the same, imports inside functions too", str(len(late)), [" ".join(ring) for ring in late]),
        ("writers of phase", f"{len(phase)} in {_files(phase)} files", phase),
        ("writers of session.lease", f"{len(lease)} in {_files(lease)} files", lease),
        ("class names used twice", str(len(twice)), [f"{name}: {' '.join(places)}" for name, places in twice.items()]),
        ("public methods of one name in 5 classes", str(len(often)), [f"{name}: {n}" for name, n in often.items()]),
        ("docstrings", str(len(words)), []),
        (f"docstrings of {FEW_WORDS} words or fewer", str(len(few)), few),
        ("modules with a test of their name", f"{len(have)} of {len(have) + len(lack)}", lack),
        ("tests that mirror no module, behaviour aside", str(len(stray)), stray),
        ("modules in the core's own folder", str(len(root_files())), root_files()),
    ]


def _files(places: Iterable[str]) -> int:
    return len({place.partition(":")[0] for place in places})


def main(arguments: list[str]) -> int:
    """Print it."""
    names = arguments == ["--names"]
    if arguments and not names:
        print("usage: python tools/census.py [--names]", file=sys.stderr)
        return 2
    for what, number, behind in table():
        print(f"{what:<45} {number:>18}")
        if names:
            for each in behind:
                print(f"    {each}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
