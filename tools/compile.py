"""Compile the modules that every query passes through, with mypyc; see docs/compiling.md.

    python tools/compile.py FOLDER

FOLDER then holds all of PgBeam's packages, with a compiled module beside each .py that pyproject.toml lists. First on
PYTHONPATH, it is what runs. When nothing has changed since the last time, nothing is done.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GROUP = "pgbeam"
"""All modules call each other directly; what they share is in one extension module, pgbeam__mypyc."""
OPT_LEVEL = "2"
"""3 takes longer to compile, and runs no faster."""
MYPY = (
    # What else is installed here must not change what comes out. Types are checked by `make lint`.
    f"--cache-dir={os.devnull}",
    "--no-site-packages",
    "--ignore-missing-imports",
    "--disable-error-code=valid-type",
    "--explicit-package-bases",
)
MARK = ".digest"
"""The file that tells what a folder was made from."""


class CannotCompile(Exception):
    """The message says what is missing or wrong, and what to do."""


def main(arguments: list[str]) -> int:
    """0 if the folder is as it should be."""
    if len(arguments) != 1:
        print("usage: python tools/compile.py FOLDER", file=sys.stderr)
        return 2
    try:
        build(Path(arguments[0]).absolute())
    except CannotCompile as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def build(folder: Path) -> None:
    """Make the folder, unless it is there already and made from the same sources. Raises CannotCompile."""
    if why := missing():
        raise CannotCompile(why)
    packages, modules = plan()
    wanted = digest(packages, modules)
    if _mark(folder) == wanted:
        return
    if folder.exists() and not _mark(folder) and any(folder.iterdir()):
        raise CannotCompile(f"{folder} holds something else: it would be replaced")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch, "made")
        for package in packages:
            shutil.copytree(package, made / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        print(f"Compiling {len(modules)} modules: about a minute", flush=True)
        _compile(made, modules, Path(scratch, "c"))
        (made / MARK).write_text(wanted)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def missing() -> str:
    """What compiling needs and is not here; "" if all is."""
    if not all(map(find_spec, ("mypyc", "setuptools"))):
        return "mypyc is missing: pip install 'mypy[mypyc]'"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"the C compiler {compiler} is missing: apt-get install gcc libc6-dev, or set CC to another"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return f"the headers of Python {sysconfig.get_python_version()} are missing: apt-get install python3-dev"
    return ""


def plan() -> tuple[list[Path], list[str]]:
    """The folders of our packages, and the modules to compile: paths such as "pgbeam_core/api/query.py"."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    packages = [ROOT / path for path in wheel["packages"]]
    modules = [
        f"{package.replace('.', '/')}/{name}.py"
        for package, names in wheel["hooks"]["custom"]["modules"].items()
        for name in names
    ]
    for module in modules:
        if not any((package.parent / module).exists() for package in packages):
            raise CannotCompile(f"pyproject.toml wants {module} compiled, which does not exist")
    return packages, sorted(modules)


def digest(packages: list[Path], modules: list[str]) -> str:
    """Another one whenever something else would come out: sources, modules, flags, compiler or Python."""
    flags = [os.environ.get(name, "") for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED")]
    made = hashlib.sha256(repr((modules, flags, sys.version, version("mypy"))).encode())
    made.update(Path(__file__).read_bytes())
    for path in _files(packages):
        made.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return made.hexdigest()


def _files(packages: list[Path]) -> Iterator[Path]:
    for package in packages:
        yield from (path for path in sorted(package.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _mark(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / MARK).read_text()
    return ""


def _compile(folder: Path, modules: list[str], scratch: Path) -> None:
    """Put the extension modules beside their sources. Paths stay relative: they end up in tracebacks."""
    # The order matters: mypyc patches the setuptools that it finds.
    import setuptools
    from mypyc.build import mypycify

    os.environ.pop("MYPYPATH", None)
    config = scratch.with_name("mypy.ini")
    config.write_text("".join(["[mypy]\n", *map(_strictly, modules)]))
    with contextlib.chdir(folder):
        extensions: list[Any] = mypycify(
            [f"--config-file={config}", *MYPY, *modules],
            group_name=GROUP,
            opt_level=OPT_LEVEL,
            debug_level="0",
            # A file of C for each module: the compiler needs less time and memory, and what comes out is as fast.
            multi_file=True,
            target_dir=str(scratch),
        )
        setuptools.setup(
            name=GROUP,
            packages=[],
            ext_modules=extensions,
            script_args=["--quiet", "build_ext", "--build-lib", str(folder), "--build-temp", str(scratch)],
        )


def _strictly(module: str) -> str:
    """A class whose base is not known would be compiled as if it had none, and crash."""
    return f"[mypy-{module.removesuffix('.py').replace('/', '.')}]\ndisallow_subclassing_any = True\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
