"""The `options` startup parameter, against what real servers made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbeam_core.errors import ProtocolViolation
from pgbeam_core.wire.options import options_to_settings, without_options
from tests.wire.samples import read

SPELLED = {"off": "false", "on": "true", "ISO, DMY": "euro"}
OUTCOMES = [
    pytest.param(options, outcome, id=f"{name} {options}")
    for name in ("pg15", "pg18")
    for options, outcome in json.loads(read(f"{name}-options.json"))
    if "search_path" not in options
]


@pytest.mark.parametrize(("options", "outcome"), OUTCOMES)
def test_options_mean_what_a_real_server_made_of_them(options: str, outcome: Any) -> None:
    """The same settings, or the same refusal."""
    if isinstance(outcome, str):
        with pytest.raises(ProtocolViolation) as caught:
            options_to_settings(options)
        assert (caught.value.message, caught.value.sqlstate) == (outcome, "42601")
    else:
        told = {name.lower(): SPELLED.get(value, value) for name, value in outcome.items()}
        assert options_to_settings(options) == told


def test_a_backslash_keeps_white_space_and_itself() -> None:
    r"""A real server took `a\ b\\c` for `a b\c`, as its recorded refusal shows."""
    options = r"-c search_path=a\ b\\c -c MY.Thing=x=y"
    (refusal,) = [outcome for given_, outcome in json.loads(read("pg18-options.json")) if given_ == options]
    settings = options_to_settings(options)
    assert settings == {"search_path": r"a b\c", "my.thing": "x=y"}
    assert f'"{settings["search_path"]}"' in refusal


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("", {}),
        ("-d 2", {"log_min_messages": "debug2", "log_statement": "all"}),
        ("-d x", {"log_min_messages": "notice"}),
        ("-te", {"log_executor_stats": "true"}),
        (
            "-B 10 -h x -k y -N 5 -p 6 -W 7",
            dict(
                zip(
                    (
                        "shared_buffers",
                        "listen_addresses",
                        "unix_socket_directories",
                        "max_connections",
                        "port",
                        "post_auth_delay",
                    ),
                    ("10", "x", "y", "5", "6", "7"),
                    strict=True,
                )
            ),
        ),
        ("-c -x=1", {"_x": "1"}),
        ("-c a= \\", None),
        ("-c a=\\", {"a": ""}),
    ],
)
def test_rare_switches_are_known_too(options: str, settings: dict[str, str] | None) -> None:
    """Every switch of the server process that a client may give."""
    if settings is None:
        with pytest.raises(ProtocolViolation):
            options_to_settings(options)
    else:
        assert options_to_settings(options) == settings


def test_a_refusal_has_the_hint_of_postgresql() -> None:
    """It helps as much as the server's own."""
    with pytest.raises(ProtocolViolation) as caught:
        options_to_settings("-x")
    assert caught.value.hint == 'Try "postgres --help" for more information.'


def test_options_without_the_prefix_stay_as_they_were() -> None:
    """Nothing is rewritten without need."""
    options = r"  -c work_mem=5MB   --application-name=two\ words "
    assert without_options(options, "pgbeam.") == (options, {})


def test_options_of_the_prefix_are_taken_out() -> None:
    """The server sees the others; names are compared as the server compares them."""
    options = r"-c pgbeam.debug=on -c work_mem=5MB --PgBeam.cache-ttl=5 -ec a.b=x\ y\\z -c pgbeam.debug=off"
    left, taken = without_options(options, "pgbeam.")
    assert taken == {"pgbeam.debug": "off", "pgbeam.cache_ttl": "5"}
    assert left == r"-c work_mem=5MB -c datestyle=euro -c a.b=x\ y\\z"


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_.]{0,8}", fullmatch=True), st.text(max_size=12), max_size=5))
def test_what_is_left_means_what_it_meant(settings: dict[str, str]) -> None:
    """Values with spaces and backslashes come through the rewriting unharmed."""
    spelled = " ".join(
        "-c " + "".join(f"\\{char}" if char in " \t\n\v\f\r\\" else char for char in f"{name}={value}")
        for name, value in {"pgbeam.x": "1", **settings}.items()
    )
    left, taken = without_options(spelled, "pgbeam.")
    assert options_to_settings(left) | taken == {"pgbeam.x": "1"} | settings


def test_letters_beyond_ascii_keep_their_case() -> None:
    """PostgreSQL folds parameter names in ASCII only."""
    assert options_to_settings("-c My.\u0130\udcff=1") == {"my.\u0130\udcff": "1"}
