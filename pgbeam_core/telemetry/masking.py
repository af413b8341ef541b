"""Keeps secrets out of what people and logs are shown. Rather a word too much is hidden than a password shown."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_SECRET_NAME = re.compile(r"(?:^|[^a-z])(?:pass(?:code)?|pwd)(?:[^a-z]|s?$)|passw|passphrase|secret|token|credential")
_SECRET_WORDS = ("password", "secret", "token", "credentials", "passphrase")
_USERS = "users"
"""A table of names, and of what these prove themselves with."""
_ALIKE = 0.75
_OPTION = re.compile(r"""([\w.-]+)((?:['"]\s*:|\s*=)\s*)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^&\s,'"}\])]+)""")
"""`name=value`, as in a URL, a connection string and TOML, or `"name": value`."""
_BEFORE_AT = re.compile(r"([^\s/:@'\"]*):(?!//)([^\n]*)@")
"""`user:password@`, with or without a scheme before it, spelt right or not; the password may hold anything."""
_BEFORE_AT_IN_WORDS = re.compile(r"(//[^\s/:@'\"]*):(\S*)@")
_PORT = re.compile(r"(://[^\s/:@\[\]'\"]*):(?!\*\*\*@)(?!\d{1,5}(?:[/?#,;)\]\s'\"]|$))([^\s'\"]+)")
"""What stands where a URL's port belongs and is none: a password whose host was forgotten, or is behind a # or /."""


def mask(text: str) -> str:
    """One setting, or what is said about it, without passwords."""
    return _OPTION.sub(_option, _PORT.sub(rf"\1:{MASK}", _BEFORE_AT.sub(rf"\1:{MASK}@", text)))


def mask_words(text: str) -> str:
    """Sentences, as in a log, without the passwords of the URLs in them."""
    if "//" in text:
        text = _PORT.sub(rf"\1:{MASK}", _BEFORE_AT_IN_WORDS.sub(rf"\1:{MASK}@", text))
    return text


def masked(value: Any) -> Any:
    """A value of the settings, tables and lists included, without passwords."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: _masked(str(key), held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def _masked(key: str, held: Any) -> Any:
    if key == _USERS and isinstance(held, Mapping):
        return dict.fromkeys(held, MASK)
    return MASK if is_secret(key) and held else masked(held)


def is_secret(key: str) -> bool:
    """Whether a key's name says, or with a slip of the pen would say, that its value is nobody's business."""
    last = key.rpartition(".")[2].lower()
    if _SECRET_NAME.search(last):
        return True
    words = (last, *re.split(r"[^a-z]+", last))
    return any(difflib.get_close_matches(word, _SECRET_WORDS, n=1, cutoff=_ALIKE) for word in words)


def _option(found: re.Match[str]) -> str:
    name, equals, _ = found.groups()
    return f"{name}{equals}{MASK}" if is_secret(name) else found[0]
