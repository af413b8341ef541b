"""Chooses the reactor. Nothing may import `twisted.internet.reactor` before this has run."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

_COLLECT = (20_000, 5, 1000)
"""When Python looks for cycles: seldom, as nothing that a query makes is one, and at few objects at a time, as the loop
waits for it: 20,000 take a millisecond, 100,000 some. A look at all that is remembered takes long."""


def install_reactor(*, uvloop: bool) -> Any:
    """Twisted's asyncio reactor on a uvloop loop, or on asyncio's own where uvloop is unwanted or missing."""
    from twisted.internet import asyncioreactor

    gc.set_threshold(*_COLLECT)
    asyncioreactor.install(_uvloop() if uvloop else asyncio.SelectorEventLoop())
    from twisted.internet import reactor

    return reactor


def settle_down() -> None:
    """What has been made by now stays, and is not looked at again when Python looks for cycles. Takes 50 ms."""
    gc.collect()
    gc.freeze()


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()
    return uvloop.new_event_loop()
