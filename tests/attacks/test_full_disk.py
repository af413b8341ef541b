"""A disk that is full, when PgBeam starts or later, costs what would have been kept there, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgbeam_core import ask_running
from tests.attacks.conftest import Fort
from tests.behaviour import frames
from tests.behaviour.beams import Beam

pytestmark = pytest.mark.pg

Disk = Callable[[int], Path]


@pytest.fixture
def disk(open_tmp_path: Path) -> Iterator[Disk]:
    """disk(bytes) gives a file system of that size."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = open_tmp_path / f"disk-{size}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False)
        if done.returncode:
            pytest.skip("no file system can be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Write until there is no room."""
    with (folder / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)


def cached(beam: Beam, number: int, size: int) -> bytes:
    """Ask for something that the cache is to keep."""
    with beam.wire() as client:
        reply = client.ask(frames.query(f"/* @pgbeam:cache */ SELECT repeat('{number}', {size})"))
    return next(frame.body[6:] for frame in reply if frame.tag == b"D")


def ended(beam: Beam) -> str:
    """Stop it well, and give what it has logged."""
    beam.stop()
    assert not beam.complaints()
    return beam.log


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_at_the_start(fort: Fort, disk: Disk, workers: int) -> None:
    """PgBeam starts, serves and caches in memory, and says that the second level is off."""
    folder = disk(256 * 1024)
    fill(folder)
    beam = fort(workers=workers, settings={"state_dir": str(folder / "state")})
    for _ in range(3):
        assert cached(beam, 7, 10) == b"7" * 10
    log = ended(beam)
    assert "the second level of the cache is off" in log


def test_a_disk_that_fills_later(fort: Fort, disk: Disk) -> None:
    """What no longer fits is a miss, one line in the log and a number in the stats."""
    folder = disk(2 * 1024 * 1024)
    beam = fort(settings={"state_dir": str(folder)})
    assert cached(beam, 1, 1000) == b"1" * 1000
    fill(folder)
    for number in range(2, 10):
        assert cached(beam, number, 100_000) == str(number).encode() * 100_000
    assert ask_running(folder, "stats")["cache"]["l2"]["errors"] > 0
    log = ended(beam)
    assert log.count("second level of the cache: ") == 1
