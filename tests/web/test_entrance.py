"""Who is let into the dashboard, and how often one may try."""

from __future__ import annotations

import pytest

from pgbeam_core.web.throttle import MOST_ADDRESSES, MOST_FAILURES, WINDOW_S

from .sites import TOKEN, Stage, told

PATHS = (
    "/v1/stats",
    "/v1/history",
    "/v1/log",
    "/v1/projects",
    "/v1/shapes",
    "/v1/pools",
    "/v1/tables/pools",
    "/v1/session",
)
RULE = "/v1/projects/shop/cache-rules/0123456789abcdef"


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_the_token(stage: Stage, path: str) -> None:
    """What PgBeam knows of queries is for those who were given the token, whatever they ask for."""
    for token in (None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper()):
        reply = stage.ask("GET", path, token=token)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert set(told(reply)) <= {"error", "hint"}
        stage.beam.reactor.advance(WINDOW_S)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_rule_is_changed_without_the_token(stage: Stage, method: str) -> None:
    """A page of somebody else can make a browser send requests, but not this header."""
    assert stage.ask(method, RULE, token=None, json={"enabled": True}).status == 401


@pytest.mark.parametrize("header", ["Basic YTo=", "bearer", "Token x", f"Bearer{TOKEN}", TOKEN, "Bearer \xe9"])
def test_odd_headers_are_no_token(stage: Stage, header: str) -> None:
    """Neither a failure nor a way in."""
    assert stage.ask("GET", "/v1/session", token=None, headers={"authorization": header}).status == 401


def test_cookies_and_parameters_are_no_token(stage: Stage) -> None:
    """What browsers send by themselves, or leave in histories, lets nobody in."""
    headers = {"cookie": f"token={TOKEN}"}
    assert stage.ask("GET", "/v1/session", token=None, headers=headers, query={"token": TOKEN}).status == 401


def test_a_token_cannot_be_guessed_by_trying(stage: Stage) -> None:
    """After some wrong ones an address waits, even with the right one; others do not; a minute later it may again."""
    for _ in range(MOST_FAILURES):
        assert stage.ask("GET", "/v1/session", token="guess", address="192.0.2.1").status == 401
    blocked = stage.ask("GET", "/v1/session", address="192.0.2.1")
    assert blocked.status == 429
    assert 0 < int(blocked.headers["Retry-After"]) <= WINDOW_S + 1
    assert stage.ask("GET", "/v1/session", address="192.0.2.2").status == 200
    stage.beam.reactor.advance(WINDOW_S + 1)
    assert stage.ask("GET", "/v1/session", address="192.0.2.1").status == 200


def test_neighbours_of_one_network_count_together(stage: Stage) -> None:
    """With IPv6 everybody has addresses without end."""
    for number in range(MOST_FAILURES):
        stage.ask("GET", "/v1/session", token="guess", address=f"2001:db8::{number + 1:x}")
    assert stage.ask("GET", "/v1/session", address="2001:db8::ffff").status == 429
    assert stage.ask("GET", "/v1/session", address="2001:db8:1::1").status == 200


def test_many_addresses_take_no_memory_without_end(stage: Stage) -> None:
    """Beyond a bound the failures of all others count as one address's, which locks nobody out who has failed never."""
    for number in range(MOST_ADDRESSES):
        stage.ask("GET", "/v1/session", token="guess", address=f"10.0.{number // 256}.{number % 256}")
    for number in range(MOST_FAILURES):
        assert stage.ask("GET", "/v1/session", token="guess", address=f"10.9.9.{number}").status == 401
    assert stage.ask("GET", "/v1/session", token="guess", address="10.9.9.99").status == 429
    stage.beam.reactor.advance(WINDOW_S + 1)
    assert stage.ask("GET", "/v1/session", address="10.9.9.99").status == 200


def test_metrics_and_health_need_none(stage: Stage) -> None:
    """Machines that watch PgBeam have no token."""
    for path in ("/metrics", "/healthz", "/readyz", "/", "/static/app.js", "/v1/openapi.json"):
        assert stage.ask("GET", path, token=None).status == 200


def test_without_the_dashboard_there_is_nothing(stage: Stage) -> None:
    """Off by default: the addresses are not there, token or not."""
    off = Stage(dashboard=False)
    for path in (*PATHS, "/", "/static/app.js"):
        assert off.ask("GET", path).status == 404
    assert off.ask("GET", "/metrics").status == 200
