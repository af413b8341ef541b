"""A plugin that a PgBeam under test finds like any installed one: it lets more turns be shared, and counts them."""

from __future__ import annotations

import os
from pathlib import Path

PLUGINS = "limits,cache,replica,pool,debug,witness"
"""All that is on by default, and the witness."""
_HERE = Path(__file__).parent


def importable(folder: Path) -> dict[str, str]:
    """What has to be in the environment of a process that is to find it. Writes into `folder`."""
    info = folder / "pgbeam_witness-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pgbeam-witness\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pgbeam]\nwitness = pgbeam_witness:witness\n")
    path = [str(folder), str(_HERE), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
