"""Chooses the reactor. Nothing may import `twisted.internet.reactor` before this has run."""

from __future__ import annotations

import asyncio
from typing import Any


def install_reactor(*, uvloop: bool) -> Any:
    """Twisted's asyncio reactor on a uvloop loop, or on asyncio's own where uvloop is unwanted or missing."""
    from twisted.internet import asyncioreactor

    asyncioreactor.install(_uvloop() if uvloop else asyncio.SelectorEventLoop())
    from twisted.internet import reactor

    return reactor


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.SelectorEventLoop()
    return uvloop.new_event_loop()
