"""Starts and ends the servers; nothing that is started here outlives the bench."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.errors import RunFailed, Skipped
from bench.guard import Guard
from pgbeam_core.embedded.account import Account, identity

STOP_S = 10.0
READY_S = 30.0
POLL_S = 0.05


def environment(packages: Path | None = None) -> dict[str, str]:
    """Ours, without what would steer PgBeam or libpq; no encryption is tried, as none is compared.

    Python finds what is in the folder `packages` first.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "PGBEAM_"))}
    if packages is not None:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(packages), kept.get("PYTHONPATH"))))
    return kept | {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable", "LC_ALL": "C"}


@contextmanager
def running(
    command: Sequence[str], folder: Path, guard: Guard, account: Account | None = None, packages: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server in its folder, its words in the folder's `log`; it and its whole group are gone in the end."""
    with (folder / "log").open("wb") as log:
        process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            list(command),
            cwd=folder,
            env=environment(packages),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **identity(account),
        )
    guard.watch(process.pid)
    try:
        yield process
    finally:
        _end(process)


def wait_ready(process: subprocess.Popen[bytes], psql: Sequence[str], folder: Path) -> None:
    """Return once a query through it works. Skipped, with what it said, if that does not happen."""
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            run([*psql, "-c", "SELECT 1"], timeout_s=READY_S)
        except RunFailed:
            time.sleep(POLL_S)
        else:
            return
    said = telling_line((folder / "log").read_text("utf-8", "replace"))
    raise Skipped(f"{folder.name.partition('-')[0]} did not start: {said}")


def wait_said(process: subprocess.Popen[bytes], folder: Path, word: str) -> None:
    """Return once its log has the word. RunFailed, with what it said instead, if it ends or takes too long."""
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if word in (folder / "log").read_text("utf-8", "replace"):
            return
        time.sleep(POLL_S)
    raise RunFailed(telling_line((folder / "log").read_text("utf-8", "replace")))


def run(
    command: Sequence[str], *, timeout_s: float, cwd: Path | None = None, meanwhile: Callable[[int], None] | None = None
) -> str:
    """Run a client to its end; what it prints. RunFailed, with what it said, if it fails.

    `meanwhile` is called with its pid once it runs.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen(
        list(command), cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            if meanwhile is not None:
                meanwhile(process.pid)
            said, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RunFailed(f"no end after {timeout_s:.0f} s") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise RunFailed(telling_line(errors or said))
    return said


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def telling_line(text: str) -> str:
    """The first error in what a program said: what comes after it is mostly its consequence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    return (errors or lines[-1:] or ["it said nothing"])[0][:200]
