"""What may go wrong without ending the bench."""

from __future__ import annotations


class Skipped(Exception):
    """Something cannot be measured on this machine; the message says why, in a few words."""


class RunFailed(Exception):
    """One run did not work out; the message is what the program said."""
