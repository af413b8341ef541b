"""The `options` startup parameter: command-line switches for the server process, read as the server reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.message import raw, text

_SPACE = " \t\n\v\f\r"
_SYNTAX_ERROR = "42601"

_WITH_ARGUMENT = frozenset("BCDcdfhkNprStvW-")
_IGNORED = frozenset("bEjnT")
_FLAGS = {
    "e": ("datestyle", "euro"),
    "F": ("fsync", "false"),
    "i": ("listen_addresses", "*"),
    "l": ("ssl", "true"),
    "O": ("allow_system_table_mods", "true"),
    "P": ("ignore_system_indexes", "true"),
    "s": ("log_statement_stats", "true"),
}
_NAMED = {
    "B": "shared_buffers",
    "h": "listen_addresses",
    "k": "unix_socket_directories",
    "N": "max_connections",
    "p": "port",
    "S": "work_mem",
    "W": "post_auth_delay",
}
_PLANS = {
    "s": "enable_seqscan",
    "i": "enable_indexscan",
    "o": "enable_indexonlyscan",
    "b": "enable_bitmapscan",
    "t": "enable_tidscan",
    "n": "enable_nestloop",
    "m": "enable_mergejoin",
    "h": "enable_hashjoin",
}
_STATS = {"pa": "log_parser_stats", "pl": "log_planner_stats"}
_DEBUG = {
    2: ("log_statement", "all"),
    3: ("debug_print_parse", "true"),
    4: ("debug_print_plan", "true"),
    5: ("debug_print_rewritten", "true"),
}

Setting = tuple[str, str]


def options_to_settings(options: str) -> dict[str, str]:
    """The run-time parameters that an options string sets, names in lower case; of two settings the later counts.

    Raise ProtocolViolation with SQLSTATE 42601 for a string that the server would not take.
    """
    return {_folded(name): value for name, value in _settings(options)}


def without_options(options: str, prefix: str) -> tuple[str, dict[str, str]]:
    """Take the parameters whose names begin with `prefix` (in lower case) out of an options string.

    Gives what is left and what was taken. When nothing is taken the string stays as it was; else the others are written
    anew as `-c name=value`. Raises as `options_to_settings` does.
    """
    kept: list[str] = []
    taken: dict[str, str] = {}
    for name, value in _settings(options):
        if _folded(name).startswith(prefix):
            taken[_folded(name)] = value
        else:
            kept.append(f"-c {_escaped(f'{name}={value}')}")
    return (" ".join(kept), taken) if taken else (options, {})


def without_word(options: str, name: str) -> tuple[str, str | None]:
    """Take the word `name=value` out of an options string, where it is no switch's argument; the last one counts.

    Gives what is left and the value, None if there is no such word.
    """
    kept: list[str] = []
    taken: str | None = None
    is_argument = False
    for word in _words(options):
        if not is_argument and word.startswith(f"{name}="):
            taken = word[len(name) + 1 :]
        else:
            is_argument = not is_argument and _wants_more(word)
            kept.append(_escaped(word))
    return (options, None) if taken is None else (" ".join(kept), taken)


def _wants_more(word: str) -> bool:
    """Whether the argument of its last switch is the next word."""
    first = next((at for at in range(1, len(word)) if word[at] in _WITH_ARGUMENT), 0)
    return word[:1] == "-" and first > 0 and first == len(word) - 1


def _folded(name: str) -> str:
    # PostgreSQL folds ASCII only, so "İ" must stay what it is: bytes.lower does that, str.lower does not.
    return text(raw(name).lower())


def _escaped(word: str) -> str:
    return re.sub(r"[\\ \t\n\v\f\r]", r"\\\g<0>", word)


def _words(options: str) -> list[str]:
    """Split at white space. A backslash makes the next character an ordinary one."""
    words: list[str] = []
    at, end = 0, len(options)
    while True:
        while at < end and options[at] in _SPACE:
            at += 1
        if at >= end:
            return words
        word: list[str] = []
        while at < end and options[at] not in _SPACE:
            at += options[at] == "\\"
            word += options[at : at + 1]
            at += 1
        words.append("".join(word))


def _settings(options: str) -> Iterator[Setting]:
    words = iter(_words(options))
    for word in words:
        if word == "--":  # the end of switches: nothing may follow
            for after in words:
                _refuse(after)
            return
        if len(word) < 2 or word[0] != "-":
            _refuse(word)
        yield from _switches(word, words)


def _switches(word: str, words: Iterator[str]) -> Iterator[Setting]:
    """One word may hold several switches, as in `-sc name=value`; the last may take its argument from the next word."""
    for at in range(1, len(word)):
        switch = word[at]
        if switch not in _WITH_ARGUMENT:
            yield from _plain(switch, word)
            continue
        argument = word[at + 1 :] or next(words, None)
        if argument is None:
            _refuse(word)
        yield from _with_argument(switch, argument, word)
        return


def _plain(switch: str, word: str) -> Iterator[Setting]:
    if switch in _FLAGS:
        yield _FLAGS[switch]
    elif switch not in _IGNORED:
        _refuse(word)


def _with_argument(switch: str, argument: str, word: str) -> Iterator[Setting]:
    if switch in "c-":
        yield _assignment(switch, argument)
    elif switch == "d":
        yield from _debug(argument)
    elif switch in "ft":
        name = _PLANS.get(argument[:1]) if switch == "f" else _stats(argument)
        if name is None:
            _refuse(word)
        yield name, "false" if switch == "f" else "true"
    elif switch in _NAMED:
        yield _NAMED[switch], argument


def _assignment(switch: str, argument: str) -> Setting:
    name, equals, value = argument.partition("=")
    if not equals:
        shown = f"-c {argument}" if switch == "c" else f"--{argument}"
        raise ProtocolViolation(f"{shown} requires a value", sqlstate=_SYNTAX_ERROR)
    return name.replace("-", "_"), value


def _debug(argument: str) -> Iterator[Setting]:
    number = re.match(r"\s*[+-]?\d{1,9}", argument, re.ASCII)
    level = int(number[0]) if number else 0
    yield "log_min_messages", f"debug{level}" if level > 0 else "notice"
    for least, setting in _DEBUG.items():
        if level >= least:
            yield setting


def _stats(argument: str) -> str | None:
    return "log_executor_stats" if argument[:1] == "e" else _STATS.get(argument[:2])


def _refuse(word: str) -> NoReturn:
    raise ProtocolViolation(
        f"invalid command-line argument for server process: {word}",
        hint='Try "postgres --help" for more information.',
        sqlstate=_SYNTAX_ERROR,
    )
