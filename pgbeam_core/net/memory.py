"""Gives memory back to the system that large messages have taken and that the C library keeps for the next ones."""

from __future__ import annotations

import ctypes
from typing import Any


def give_back(reactor: Any) -> None:
    """In a thread: it may take some milliseconds. Nothing happens where the C library has no way to do it."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    reactor.callInThread(trim, 0)
