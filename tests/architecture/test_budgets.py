"""The house stays one that strangers find their way in: files and functions are small, docstrings say something.

No file is an exception; a function that was larger when this test was written has its size here, and may only shrink.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

FILE_LINES = 300

FUNCTION_LINES = 50
LARGE_FUNCTIONS = {
    "pgbeam_core.session.session.__init__": 56,
    "pgbeam_core.session.turns.__init__": 57,
}
"""Lists of attributes."""

NAMED_TWICE = {"Query"}
"""The hooks' word for one execution, and the protocol's for a message."""

WRITERS = {"phase": ("", 2), "lease": ("session", 1)}
"""Attribute → (of what, places that assign to it)."""

FORBIDDEN = re.compile(
    r"\b(?-i:TODO|FIXME|HACK)\b|\bissue #?\d+\b"
    r"|\b(?:simply|obviously|of course|trivial(?:ly)?)\b|\b(?:bring|brought)s? along\b",
    re.IGNORECASE,
)
"""What is to be done, what is not so for everybody; and "built-in" is what PostgreSQL comes with."""
TEXTS = [
    path
    for pattern in (
        "pgbeam_core/**/*.py",
        "plugins/**/*.py",
        "plugins/**/*.md",
        "docs/**/*.md",
        "examples/**/*.py",
        "*.md",
    )
    for path in sorted(ROOT.glob(pattern))
]


def test_files_are_small(census: Any) -> None:
    """A file is read at one sitting. One that has grown is cut where its concerns are, not where the line is."""
    grown = {module.name: module.lines for module in census.modules() if module.lines > FILE_LINES}
    assert grown == {}


def test_functions_are_small(census: Any) -> None:
    """A function does one thing."""
    grown = {}
    for function in census.functions(census.modules()):
        name = f"{function.module.name}.{function.node.name}"
        if function.lines > LARGE_FUNCTIONS.get(name, FUNCTION_LINES):
            grown[name] = function.lines
    assert grown == {}


def test_exceptions_shrink(census: Any) -> None:
    """What is small by now is an exception no more: take it out of the lists above."""
    functions = {
        f"{each.module.name}.{each.node.name}"
        for each in census.functions(census.modules())
        if each.lines > FUNCTION_LINES
    }
    assert set(LARGE_FUNCTIONS) - functions == set()
    assert NAMED_TWICE - set(census.classes_named_twice(census.modules())) == set()


def test_docstrings_say_something(census: Any) -> None:
    """A docstring that says what the name says already is left out: say a contract, or nothing."""
    assert census.empty_docstrings(census.modules()) == []


def test_one_name_is_one_class(census: Any) -> None:
    """Whoever searches for a class finds one."""
    assert set(census.classes_named_twice(census.modules())) <= NAMED_TWICE


@pytest.mark.parametrize("attribute", WRITERS)
def test_few_write_the_state_of_a_conversation(census: Any, attribute: str) -> None:
    """Each place that assigns to it is one to be looked at when it is wrong."""
    owner, most = WRITERS[attribute]
    session = [module for module in census.modules() if module.name.startswith("pgbeam_core.session")]
    places = census.writers(session, attribute, of=owner)
    assert len(places) <= most, "\n".join(places)


def test_no_file_imports_itself_over_others(census: Any) -> None:
    """Files can be read in an order: none needs another that needs it, but for types."""
    assert census.circles(census.modules()) == []


def test_tests_mirror_the_source_or_say_what_users_see(census: Any) -> None:
    """Whoever changes a module finds its tests by its name; what users see stands in tests/behaviour."""
    stray = census.unmirrored_tests()
    assert stray == [], f"name them after the module that they are about, or move them below tests/behaviour: {stray}"


def test_folders_that_mirror_nothing_are_there(census: Any) -> None:
    """The list of exceptions names folders of today, with a reason each."""
    assert [name for name, why in census.NO_MIRROR.items() if not (ROOT / "tests" / name).is_dir() or not why] == []


def test_no_text_has_words_that_do_not_belong_there() -> None:
    """No work that is left, no places of those who wrote it, nothing that is called easy."""
    found = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []
