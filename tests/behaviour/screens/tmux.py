"""A terminal that is typed into and read: tmux."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

TMUX = shutil.which("tmux")
PATIENCE_S = 30.0


class Tmux:
    """One window, with a shell in it, on a server of its own."""

    def __init__(self, folder: Path, width: int = 80, height: int = 24) -> None:
        self._socket = folder / "tmux.sock"
        self._run("new-session", "-d", "-x", str(width), "-y", str(height), "env PS1='ready$ ' HISTFILE= sh")
        self.wait("ready$")

    def type(self, *keys: str) -> None:
        """Press keys, by tmux's names: Tab, Escape, Enter, or a letter."""
        for key in keys:
            self._run("send-keys", key)

    def command(self, words: list[str], environment: Mapping[str, str]) -> None:
        """Have the shell run it."""
        given = [f"{name}={value}" for name, value in environment.items()]
        self._run("send-keys", "-l", shlex.join(["env", *given, *words]))
        self._run("send-keys", "Enter")

    def resize(self, width: int, height: int) -> None:
        self._run("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def wait(self, *wanted: str, without: str | None = None) -> str:
        """The screen, once all these texts stand on it, and that one no more."""
        return self.until(lambda seen: all(each in seen for each in wanted) and (not without or without not in seen))

    def until(self, fits: Callable[[str], bool]) -> str:
        """The screen, once it fits."""
        deadline = time.monotonic() + PATIENCE_S
        while not fits(seen := self.screen()):
            assert time.monotonic() < deadline, f"the screen stays:\n{seen}"
            time.sleep(0.05)
        return seen

    def asks(self, what: str) -> str:
        """What tmux says of the window, for example #{alternate_on}."""
        return self._run("display-message", "-p", what).strip()

    def close(self) -> None:
        self._run("kill-server")

    def _run(self, *words: str) -> str:
        command = [TMUX or "tmux", "-f", "/dev/null", "-S", str(self._socket), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
