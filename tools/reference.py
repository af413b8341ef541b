"""Writes docs/reference.md: every name that a plugin may import, from the docstrings of the code.

    python tools/reference.py

A test compares the page with what this would write.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
OWN = re.compile(r"^\s*# For (?:conversations|the service)\b")
"""What follows in a class is the core's own, up to the next comment that begins like this."""
PART = re.compile(r"^\s*# For \w+\b")

HEAD = """\
# Reference

Every name that a plugin may import from `pgbeam_core`, and what tests of plugins import from `pgbeam_core.testing`.
Made from the docstrings by `python tools/reference.py`; a test keeps it complete. The hooks have a [page](hooks.md) of
their own, and [examples](../examples/hooks) for each.

## Stability

- What stands here is the contract. It changes only with a line under *Changed* in the [changelog](../CHANGELOG.md);
  until 1.0 it may change with any release, from then on only with a major one, after a release that warns.
- Names that begin with an underscore, modules of `pgbeam_core` other than `pgbeam_core` itself and
  `pgbeam_core.testing`, and attributes that are not on this page may change without a word.
- Hooks get new arguments at their end only: an implementation takes those that it names. New fields of classes that
  plugins make (`Answer`, `Refusal`, `Notice`, `Table`, `Command`) have defaults.
- SQLSTATEs, the names of settings, columns and counters are contract too.
"""


class Member(NamedTuple):
    """An attribute or a method, as the page shows it."""

    line: int
    shown: str
    text: str


def source_of(module: str) -> str:
    """The text of a module, which may be compiled."""
    path = ROOT / module.replace(".", "/")
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def module_of(name: str, module: str) -> str:
    """Where a name that a module has is defined."""
    for node in ast.parse(source_of(module)).body:
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return module_of(name, node.module or "")
    return module


def names_of(package: str) -> list[str]:
    """Its `__all__`."""
    for node in ast.parse(source_of(package)).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise LookupError(f"{package} has no __all__")


def definition(name: str, module: str) -> tuple[ast.stmt, str]:
    """The statement that defines it, and the docstring or the string that follows."""
    body = ast.parse(source_of(module)).body
    for place, node in enumerate(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node, ast.get_docstring(node) or ""
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if [target.id for target in targets if isinstance(target, ast.Name)] == [name]:
            return node, string_behind(body, place)
    raise LookupError(f"{module} does not define {name}")


def string_behind(body: list[ast.stmt], place: int) -> str:
    """The string that stands behind a statement, as the docstring of what it makes."""
    behind = body[place + 1] if place + 1 < len(body) else None
    if isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant) and isinstance(behind.value.value, str):
        return inspect.cleandoc(behind.value.value)
    return ""


def own_lines(source: list[str], node: ast.ClassDef) -> set[int]:
    """The lines of a class that are the core's own."""
    found: set[int] = set()
    own = False
    for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
        line = source[number - 1]
        if PART.match(line):
            own = OWN.match(line) is not None
        elif line.startswith("    def __init__"):
            own = False
        if own:
            found.add(number)
    return found


def members(node: ast.ClassDef, source: list[str]) -> Iterator[Member]:
    """The public attributes and methods of a class, in the order of the file."""
    own = own_lines(source, node)
    for place, each in enumerate(node.body):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            yield Member(
                each.lineno, f"{each.target.id}: {ast.unparse(each.annotation)}", string_behind(node.body, place)
            )
        elif isinstance(each, ast.FunctionDef) and each.name == "__init__":
            yield from attributes(each)
        elif isinstance(each, ast.FunctionDef) and each.lineno not in own:
            decorators = [ast.unparse(decorator) for decorator in each.decorator_list]
            if "overload" not in decorators:
                yield Member(
                    each.lineno, signature(each, is_property="property" in decorators), ast.get_docstring(each) or ""
                )


def attributes(init: ast.FunctionDef) -> Iterator[Member]:
    """Those that `__init__` sets."""
    types = {argument.arg: argument.annotation for argument in [*init.args.args, *init.args.kwonlyargs]}
    for place, each in enumerate(init.body):
        if isinstance(each, ast.Assign) and len(each.targets) == 1:
            target, annotation = each.targets[0], types.get(ast.unparse(each.value))
        elif isinstance(each, ast.AnnAssign):
            target, annotation = each.target, each.annotation
        else:
            continue
        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
            kind = f": {ast.unparse(annotation)}" if annotation is not None else ""
            yield Member(each.lineno, f"{target.attr}{kind}", string_behind(init.body, place))


def signature(function: ast.FunctionDef, *, is_property: bool) -> str:
    """As one would call it."""
    returns = f" → {ast.unparse(function.returns)}" if function.returns else ""
    if is_property:
        return f"{function.name}{returns.replace(' → ', ': ')}"
    arguments = ast.unparse(function.args)
    return f"{function.name}({re.sub(r'^(self|cls)(, )?', '', arguments)}){returns}"


def entry(name: str, package: str) -> str:
    """What the page says of one name."""
    module = module_of(name, package)
    node, text = definition(name, module)
    source = source_of(module).splitlines()
    lines = [f"### `{name}`", ""]
    if isinstance(node, ast.FunctionDef):
        lines += [f"`{signature(node, is_property=False)}`", ""]
    elif not isinstance(node, ast.ClassDef):
        value = ast.unparse(node.value) if isinstance(node, ast.Assign | ast.AnnAssign) and node.value else ""
        lines += [f"`{name} = {value}`", ""]
    lines += [prose(text)] if text else []
    if isinstance(node, ast.ClassDef):
        found = shown(node, source)
        words = enumerated(node)
        lines += ["", f"Of these: {words}."] if words else []
        lines += ["", *found] if found else []
    return "\n".join(lines).rstrip() + "\n"


def shown(node: ast.ClassDef, source: list[str]) -> list[str]:
    """The members of a class as a list, with what is said of them."""
    own = own_lines(source, node)
    lines = []
    for member in members(node, source):
        if member.line not in own and (member.shown.startswith("__call__") or not member.shown.startswith("_")):
            said = " ".join(prose(member.text).split())
            lines.append(f"- `{member.shown}`" + (f": {said}" if said else ""))
    return lines


def enumerated(node: ast.ClassDef) -> str:
    """The members of an enumeration."""
    if not any("Enum" in ast.unparse(base) for base in node.bases):
        return ""
    names = [
        target.id
        for each in node.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    ]
    return ", ".join(f"`{name}`" for name in names)


def prose(text: str) -> str:
    """A docstring in Markdown: code that is set off stays so."""
    return re.sub(r"::$", ":", textwrap.dedent(text).strip(), flags=re.MULTILINE)


def page() -> str:
    """All of it."""
    parts = [HEAD]
    for title, name in (
        ("What plugins import", "pgbeam_core"),
        ("What tests of plugins import", "pgbeam_core.testing"),
    ):
        parts.append(f"## {title}: `{name}`\n")
        parts += [entry(each, name) for each in names_of(name)]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {PAGE.read_text(encoding='utf-8').count('### ')} names")
