"""Values of `pgbeam.debug`, by PostgreSQL's rules for booleans."""

from __future__ import annotations

from pgbeam_core import Refusal

_WORDS = {"true": "on", "false": "off", "yes": "on", "no": "off", "on": "on", "off": "off", "1": "on", "0": "off"}


def boolean(name: str, value: str) -> str | Refusal:
    """on or off for any case and any beginning that means one thing only; a Refusal 22023 for all else."""
    given = value.lower()
    found = {shown for word, shown in _WORDS.items() if given and word.startswith(given)}
    return found.pop() if len(found) == 1 else Refusal("22023", f'parameter "{name}" requires a Boolean value')
