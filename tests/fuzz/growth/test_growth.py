"""No text ends the process, holds the loop or takes much memory, however large one production of the grammar grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fuzz.growth.productions import PRODUCTIONS

ROOT = Path(__file__).parents[3]
HELD_MS = 10 * float(os.environ.get("TEST_SLACK", "2"))
"""CPU time of one event: 10 ms on the machine that the bounds were measured on."""
GROWN_MB = 64
BATCHES = 4
AT_THE_BOUNDS = [1024, 7_000, 390_000]
"""Bytes around which the ways part: see pgbeam_core/sql/bounds.py."""
DOUBLED = [1 << power for power in range(6, 21)]
HUGE = [1 << 23, 1 << 26]


def grow(names: Sequence[str], sizes: Sequence[int]) -> list[dict[str, object]]:
    """What they cost, in a process of their own."""
    asked = json.dumps({"sizes": list(sizes), "productions": list(names)})
    command = [
        sys.executable,
        "-P",
        "-m",
        "tests.fuzz.growth.child",
        asked,
    ]  # the compiled modules, if these are tested
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=570, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{lines[-1:]} ended the process: {done.returncode} {done.stderr[-500:]}"
    return lines


def judge(lines: Sequence[dict[str, object]]) -> None:
    """None holds, and together they take little memory."""
    held = [line for line in lines if float(str(line.get("ms", 0))) > HELD_MS]
    assert not held
    assert float(str(lines[-1]["grown_mb"])) < GROWN_MB


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_production_of_the_grammar_crashes_or_holds(batch: int) -> None:
    """Whatever is repeated in a text, others are served on, also where threads have little stack."""
    judge(grow(list(PRODUCTIONS)[batch::BATCHES], AT_THE_BOUNDS))


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_size_of_a_production_crashes_or_holds(batch: int) -> None:
    """Doubled from 64 bytes to 1 MiB, each of them."""
    judge(grow(list(PRODUCTIONS)[batch::BATCHES], DOUBLED))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["left +", "string", "ctes", "statements", "comments nested", "annotation words"])
def test_huge_texts_are_not_looked_at(name: str) -> None:
    """Up to 64 MiB: what grows then is the text itself."""
    lines = grow([name], HUGE)
    assert not [line for line in lines if float(str(line.get("ms", 0))) > HELD_MS]
