"""Chooses the reactor. Nothing may import `twisted.internet.reactor` before this has run."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

_COLLECT = (50_000, 20, 100)
"""When Python looks for cycles: nothing that a query makes is one, and looking at all that is remembered takes long."""


def install_reactor(*, uvloop: bool) -> Any:
    """Twisted's asyncio reactor on a uvloop loop, or on asyncio's own where uvloop is unwanted or missing."""
    from twisted.internet import asyncioreactor

    gc.set_threshold(*_COLLECT)
    asyncioreactor.install(_uvloop() if uvloop else asyncio.SelectorEventLoop())
    from twisted.internet import reactor

    return reactor


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()
    return uvloop.new_event_loop()
