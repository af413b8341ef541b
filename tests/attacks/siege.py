"""The harness: an attack runs against a real PgBeam while an honest client asks `select 1`; then a report is judged.

    def attack(beam: Beam, size: int) -> None:
        with beam.wire() as client:
            client.ask(frames.query("SELECT " + "1+" * size + "1"))

    def test_long_sums(fort: Fort) -> None:
        '''A long sum holds nobody up.'''
        for report in doubling(fort(), attack, first=1000, bound=64_000):
            report.check()

`fort(pool_mode="transaction", workers=1, settings={…}, project={…})` starts PgBeam once for all tests that ask for the
same, and anew if it is dead. What an attack is refused with (ConnectionError, Closed, LoginRefused, TimeoutError) is in
`report.refused`; anything else that it raises fails the test.

Tests are judged by `held_s`, the longest time that the loop's thread was at work while the loop did not turn: it is
CPU time, so a busy machine does not matter. `gap_s` and `longest_wait_s` are wall time, and only for the reader.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil  # type: ignore[import-untyped]

from pgbeam_core import ask_running
from tests.behaviour import frames
from tests.behaviour.beams import Beam
from tests.behaviour.wireclient import Closed, LoginRefused, WireClient

HELD_S = 0.05
"""Longest that the loop may be held: 10 ms are meant, the rest is slack for slow machines and Python's housekeeping."""
MB = 1 << 20
PLUGINS = "limits,cache,replica,pool,debug,gauge"
AT_LENGTH = "SOAK_SECONDS" in os.environ
"""`make soak`: sizes grow further there."""
_GAUGE = Path(__file__).parent / "gauge"
_PATIENCE_S = 30.0
"""An honest client that gets no reply for so long has found a standstill."""

Attack = Callable[[Beam], object]


@dataclass(frozen=True)
class Report:
    """What an attack has done. Sizes in bytes are of all processes of the PgBeam together."""

    size: int
    held_s: float
    """Longest CPU time of a loop's thread in one gap."""
    gap_s: float
    where: str
    """Where the loop was in the longest one, as far as it was seen."""
    answered: int
    """Replies that the honest client had meanwhile."""
    longest_wait_s: float
    before: int
    peak: int
    after: int
    """Resident memory when the attackers had left."""
    refused: str
    """What ended the attack early, if anything."""
    tracebacks: list[str]
    problems: list[str]
    """Lines of the log of level error and worse."""

    def check(self, *, held_s: float = HELD_S, grown: int = 256 * MB, left: int = 64 * MB) -> None:
        """Assert that nobody noticed: loop held, memory grown and memory left behind at most so much, no traceback."""
        assert self.held_s <= held_s, f"the loop was held for {self.held_s:.3f} s, in {self.where}\n{self}"
        assert self.peak - self.before <= grown, f"memory grew by {(self.peak - self.before) // MB} MB\n{self}"
        assert self.after - self.before <= left, f"{(self.after - self.before) // MB} MB were left behind\n{self}"
        assert not self.tracebacks, "\n".join(self.tracebacks[:5])
        assert self.answered, f"the honest client had no reply at all\n{self}"


def besiege(beam: Beam, attack: Attack, *, size: int = 0, settle_s: float = 5.0) -> Report:
    """Run an attack beside an honest client. Raises AssertionError if the process dies or that client is not served."""
    processes = [psutil.Process(beam.process.pid), *beam.workers()]
    start = beam.log_path.stat().st_size
    with Honest(beam) as honest:
        honest.wait_for(3)
        read(beam)
        for process in processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak begins anew
        before = resident(processes)
        refused = _attacked(beam, attack)
        honest.wait_for(3)
        after = settled(processes, before, settle_s)
        gauges = read(beam)
    alive = beam.process.poll() is None and all(process.is_running() for process in processes)
    log = beam.log_path.read_bytes()[start:].decode(errors="replace").splitlines()
    assert alive, f"a process has ended:\n{chr(10).join(log[-30:])}"
    worst = max(gauges, key=lambda gauge: gauge["held_s"])
    return Report(
        size=size,
        held_s=worst["held_s"],
        gap_s=max(gauge["gap_s"] for gauge in gauges),
        where=worst["where"],
        answered=honest.answered,
        longest_wait_s=honest.longest_wait_s,
        before=before,
        peak=sum(peak(process) for process in processes),
        after=after,
        refused=refused,
        tracebacks=[line for line in log if "Traceback" in line],
        problems=[line for line in log if '"level": "error"' in line or '"level": "critical"' in line],
    )


def doubling(
    beam: Beam, attack: Callable[[Beam, int], object], *, first: int, bound: int, longer: int = 0
) -> Iterator[Report]:
    """A report for each size from `first`, doubled up to `bound`; at length (`make soak`) up to `longer`."""
    size, last = first, max(bound, longer) if AT_LENGTH else bound
    while size <= last:
        yield besiege(beam, partial(attack, size=size), size=size)
        size = last if size < last < 2 * size else 2 * size


def read(beam: Beam) -> list[dict[str, Any]]:
    """How long the loops were held since this was last asked, a row for each process that serves clients."""
    rows: list[dict[str, Any]] = ask_running(state_dir(beam), "gauge.read")
    return rows


def settled(processes: list[psutil.Process], before: int, seconds: float) -> int:
    """Resident memory once it is near what it was before; at the latest after so many seconds."""
    deadline = time.monotonic() + seconds
    while (now := resident(processes)) > before + 8 * MB and time.monotonic() < deadline:
        time.sleep(0.1)
    return now


def resident(processes: list[psutil.Process]) -> int:
    """Their memory in bytes."""
    return sum(int(process.memory_info().rss) for process in processes if process.is_running())


def peak(process: psutil.Process) -> int:
    """The most memory it had resident since clear_refs, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


def state_dir(beam: Beam) -> Path:
    """Where the control socket is."""
    return beam.log_path.parent / ".pgbeam"


def importable(folder: Path) -> dict[str, str]:
    """What has to be in the environment of a process that is to find the gauge. Writes into `folder`."""
    info = folder / "pgbeam_gauge-1.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pgbeam-gauge\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[pgbeam]\ngauge = pgbeam_gauge:gauge\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder), str(_GAUGE)]))}


class Honest:
    """A client that asks `select 1` as long as it is entered, and notes how long it had to wait."""

    def __init__(self, beam: Beam) -> None:
        self.answered = 0
        self.longest_wait_s = 0.0
        self._beam = beam
        self._client: WireClient
        self._over = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._ask, name="honest client")

    def __enter__(self) -> Self:
        self._client = self._beam.wire()
        self._client.timeout = _PATIENCE_S
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_PATIENCE_S + 5)
        self._client.close()
        if self._problem is not None:
            raise AssertionError(f"the honest client was not served: {self._problem!r}") from self._problem

    def wait_for(self, more: int) -> None:
        """Wait until it has had so many more replies."""
        wanted, deadline = self.answered + more, time.monotonic() + _PATIENCE_S
        while self.answered < wanted and self._problem is None:
            assert time.monotonic() < deadline, f"no reply in {_PATIENCE_S:g} s"
            time.sleep(0.005)

    def _ask(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                rows = [frame.body[6:] for frame in self._client.ask(frames.query("select 1")) if frame.tag == b"D"]
                assert rows == [b"1"], f"a reply that is not its own: {rows}"
                self.longest_wait_s = max(self.longest_wait_s, time.monotonic() - began)
                self.answered += 1
                self._over.wait(0.002)
        except BaseException as problem:
            self._problem = problem


def _attacked(beam: Beam, attack: Attack) -> str:
    try:
        attack(beam)
    except (OSError, Closed, LoginRefused) as refusal:
        return repr(refusal)
    return ""
