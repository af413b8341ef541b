"""What signals mean to a running PgBeam."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from pgbeam_core.cli.life import Life


def listen_to_signals(reactor: Any, life: Life) -> None:
    """SIGINT and SIGTERM leave, a third one kills; SIGHUP reloads; SIGUSR2 restarts."""
    seen = 0

    def leave(number: int, _: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen == 2:
            signal.signal(number, signal.SIG_DFL)
        reactor.callFromThread(life.leave)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(life.restart))
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(life.reload))
