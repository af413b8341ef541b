"""The documentation says what the code does: signatures, settings, links and snippets are compared with it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pluggy
import pytest

from pgbeam_core import settings
from pgbeam_core.api import hookspecs
from pgbeam_core.settings.load import RawProject
from pgbeam_core.settings.model import Core

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")])
BUILT_IN = ("limits", "cache", "replica", "pool", "debug", "querylog", "otel")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
COMMANDS = {"make", "pgbeam", "psql", "git", "cd", "export", "pip", "python", "DATABASE_URL", "PGBEAM", "HATCH"}


def page(name: str) -> str:
    """The text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def ids(path: Path) -> str:
    """A page's name in the output."""
    return str(path.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """The fragments of a page's headings, as web sites make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def fences(*languages: str) -> list[Any]:
    """Every code fence in one of these languages, as test parameters."""
    return [
        pytest.param(text, id=f"{ids(path)}-{number}")
        for path in PAGES
        for number, (language, text) in enumerate(FENCE.findall(path.read_text(encoding="utf-8")), 1)
        if language in languages
    ]


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_links_lead_somewhere(path):
    """A reader who follows a link inside the project arrives, at the section that was meant."""
    text = CODE.sub("", FENCE.sub("", path.read_text(encoding="utf-8")))
    for target in (one or other for one, other in LINK.findall(text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), f"{target}: no such file"
        if fragment:
            assert fragment in anchors(there.read_text(encoding="utf-8")), f"{target}: no such section"


@pytest.mark.parametrize("path", PAGES, ids=ids)
def test_every_fence_is_closed(path):
    """A code fence that is never closed swallows the rest of the page."""
    assert len(re.findall(r"^ *```", path.read_text(encoding="utf-8"), re.MULTILINE)) % 2 == 0


@pytest.mark.parametrize("text", fences("toml"))
def test_toml_snippets_are_settings(text):
    """A TOML snippet can be pasted into settings.toml: it parses, and its keys are known at the top."""
    tree = tomllib.loads(text)
    known = {field.name for field in dataclasses.fields(Core)} | {"plugins", "projects"}
    assert "project" in tree or set(tree) <= known  # or it is a plugin's pyproject.toml


@pytest.mark.parametrize("text", fences("sh", "bash"))
def test_shell_snippets_can_be_typed(text):
    """A shell snippet consists of commands a reader has, with quotes that end."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert re.split(r"[=_]", words[0])[0] in COMMANDS or words[0].split("=")[0] in COMMANDS, line


@pytest.mark.parametrize("text", fences("python"))
def test_python_snippets_compile(text):
    """A Python snippet is Python."""
    compile(text, "snippet", "exec")


def hooks() -> list[str]:
    """The names of all hooks, in the order of the file."""
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    return [name for name in vars(hookspecs) if name in vars(manager.hook)]


@pytest.mark.parametrize("name", hooks())
def test_hooks_page_has_every_signature(name):
    """docs/hooks.md shows each hook with its exact arguments, so that a renamed one breaks the build, not a reader."""
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    assert f"`{name}({arguments})`" in page("docs/hooks.md")


def test_hooks_page_has_no_others():
    """A hook that is gone from the code is gone from its page."""
    shown = re.findall(r"^### `(\w+)\(", page("docs/hooks.md"), re.MULTILINE)
    assert shown == hooks()


@pytest.mark.parametrize("text", [page("docs/hooks.md"), hookspecs.__doc__], ids=["page", "hookspecs"])
def test_the_order_of_firing_leaves_no_hook_out(text):
    """What one session sees is listed with every hook that is fired for a session, in the order of the reference."""
    listed = re.findall(r"^ *(\w+)  +(?:once|per|exactly)\b", text, re.MULTILINE)
    fired = [
        name
        for name in hooks()
        if {"session", "statement"} & set(inspect.signature(getattr(hookspecs, name)).parameters)
    ]
    assert listed == fired


def agree(rows: list[str], spec: type | None) -> None:
    """The table has one row for each field, in order, with its default and, where there are some, its choices."""
    fields = dataclasses.fields(spec) if spec is not None else ()
    assert [row.split("|")[1].strip(" `") for row in rows] == [field.name for field in fields]
    for row, field in zip(rows, fields, strict=True):
        assert row.startswith(f"| `{field.name}` | {default(field)} | "), row
        for choice in field.metadata.get("choices", ()):
            assert f"`{choice}`" in row, row


def default(field: dataclasses.Field[Any]) -> str:
    """Its default as one would write it in settings.toml."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        return f"`{json.dumps(field.default_factory())}`"
    if value is dataclasses.MISSING:
        return "must be set"
    if value is None:
        return "not set"
    if field.metadata.get("unit") == "bytes" and value % 1024**2 == 0:
        return f'`"{value // 1024**2} MiB"`' if value else "`0`"
    if isinstance(value, tuple):
        return f"`{json.dumps([str(item) for item in value])}`"
    return f"`{json.dumps(value, default=str)}`"


def documented(section: str) -> list[str]:
    """The rows of the table under a heading of docs/settings.md."""
    text = page("docs/settings.md").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(
    ("section", "spec"), [("At the top", Core), ("`[projects.<name>]`", RawProject)], ids=["top", "projects"]
)
def test_settings_page_has_every_setting_of_the_core(section, spec):
    """docs/settings.md lists each setting with its default and its choices, as the code has them."""
    agree(documented(section), spec)


@pytest.mark.parametrize("plugin", BUILT_IN)
def test_settings_page_has_every_setting_of_the_plugins(plugin):
    """The same for the settings of the built-in plugins."""
    agree(documented(f"`[plugins.{plugin}]`"), spec_of(plugin))


def spec_of(plugin: str) -> type | None:
    """The settings class of a built-in plugin, None where it has none."""
    loaded = importlib.import_module(f"pgbeam_{plugin}").plugin
    found: type | None = loaded.settings_spec() if hasattr(loaded, "settings_spec") else None
    return found


def test_example_settings_are_valid(tmp_path):
    """The settings.toml of the README is taken as it stands."""
    file = tmp_path / "settings.toml"
    file.write_text(next(text for language, text in FENCE.findall(page("README.md")) if language == "toml"))
    specs = {name: spec for name in BUILT_IN if (spec := spec_of(name)) is not None}
    assert "shop" in settings.load(file, [], {}, specs, BUILT_IN).projects


def test_errors_page_has_the_messages_of_the_code():
    """Each message that docs/errors.md promises stands in the code, so that it can be matched on."""
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("pgbeam_core", "plugins")
        for path in (ROOT / folder).rglob("*.py")
    )
    rows = re.findall(r"^\| `?(\w{5})`? \| `([^`]+)` \|", page("docs/errors.md"), re.MULTILINE)
    assert len(rows) > 8
    for _, message in rows:
        longest = max(re.split(r"…|“|”|\"", message), key=len).strip()
        assert longest in source, message
