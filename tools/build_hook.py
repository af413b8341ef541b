"""Hatchling's build hook: a wheel with compiled modules, if that is asked for; see docs/compiling.md."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledModules(BuildHookInterface[Any]):
    """Adds the extension modules to the wheel, and tells which platform they are for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile. An editable install stays as it is: a compiled module would hide what is edited."""
        if version == "editable":
            return
        self.folder = tempfile.TemporaryDirectory(prefix="pgbeam-")
        # mypyc and setuptools patch what they find and exit on errors: they get a process of their own.
        command = [sys.executable, str(Path(self.root, "tools", "compile.py")), self.folder.name]
        if subprocess.run(command, check=False).returncode != 0:
            self.app.abort("PgBeam cannot be compiled here: the reason is above. It works without, only slower.")
        made = Path(self.folder.name)
        for path in made.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
            build_data["force_include"][str(path)] = path.relative_to(made).as_posix()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written: nothing is left behind."""
        if version != "editable":
            self.folder.cleanup()
