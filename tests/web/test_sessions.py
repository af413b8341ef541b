"""Operators log in to the dashboard with the password that they have for the console."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core.errors import PgBeamError
from pgbeam_core.web.replies import HttpReply, HttpRequest
from pgbeam_core.web.sessions import BASIC_S, SESSION_S
from pgbeam_core.web.throttle import MOST_FAILURES, WINDOW_S

from .sites import TOKEN, Stage, told
from .test_api import check

RIGHT = {"alice": "admin", "bob": "stats"}


class Passwords:
    """In the place of the console's login: all users have the password `right`."""

    def __init__(self, stage: Stage) -> None:
        self.asked: list[dict[str, Any]] = []
        self.fails_with: str | None = None
        self.waits: Deferred[Any] | None = None
        stage.beam.control.answer("operator", self.answer)

    def answer(self, request: Any) -> Any:
        self.asked.append(dict(request))
        if self.waits is not None:
            return self.waits
        if self.fails_with is not None:
            raise PgBeamError("not now", sqlstate=self.fails_with)
        if request["password"] != "right" or request["user"] not in RIGHT:
            raise PgBeamError(f'password authentication failed for user "{request["user"]}"', sqlstate="28P01")
        return RIGHT[request["user"]]


@pytest.fixture
def stage() -> Stage:
    found = Stage()
    found.beam.control.answer("console", lambda request: {"tag": request["command"], "pending": False})
    return found


@pytest.fixture
def passwords(stage: Stage) -> Passwords:
    return Passwords(stage)


def log_in(stage: Stage, user: str, password: str = "right", **more: Any) -> HttpReply:
    return stage.ask("POST", "/v1/login", token=None, json={"user": user, "password": password}, **more)


def basic(user: str, password: str = "right") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def pause(stage: Stage, **more: Any) -> HttpReply:
    return stage.ask("POST", "/v1/console", json={"command": "PAUSE"}, **more)


def test_an_operator_logs_in_with_a_password(stage: Stage, passwords: Passwords) -> None:
    """What is given for it is a token of its own, which lets one order; the address of who asks is told on."""
    reply = log_in(stage, "alice", address="192.0.2.7")
    check(reply, "/v1/login", "POST")
    session = told(reply)
    assert session["write"] is True
    assert TOKEN not in session["token"]
    assert passwords.asked == [{"ask": "operator", "user": "alice", "password": "right", "address": "192.0.2.7"}]
    assert told(stage.ask("GET", "/v1/session", token=session["token"]))["by"] == "alice"
    assert pause(stage, token=session["token"]).status == 200


def test_who_may_only_look_orders_nothing(stage: Stage, passwords: Passwords) -> None:
    """stats_users see what there is; neither commands nor rules are for them, by token or by Basic."""
    session = told(log_in(stage, "bob"))
    assert session["write"] is False
    assert told(stage.ask("GET", "/v1/session", token=session["token"]))["write"] is False
    rule = "/v1/projects/shop/cache-rules/0123456789abcdef"
    for how in ({"token": session["token"]}, {"token": None, "headers": basic("bob")}):
        assert stage.ask("GET", "/v1/history", **how).status == 200
        assert pause(stage, **how).status == 403
        for method in ("PUT", "DELETE"):
            refused = stage.ask(method, rule, json={"ttl": 1}, **how)
            assert (refused.status, told(refused)["error"]) == (403, 'user "bob" may only look')


def test_an_admin_orders_nothing_where_the_dashboard_only_shows() -> None:
    """dashboard_write is about everybody."""
    stage = Stage(dashboard_write=False)
    Passwords(stage)
    assert told(log_in(stage, "alice"))["write"] is False
    assert pause(stage, token=None, headers=basic("alice")).status == 403


def test_basic_is_checked_once_a_minute(stage: Stage, passwords: Passwords) -> None:
    """A program that sends a password with each request costs no login each; one that was changed holds no longer."""
    for _ in range(5):
        assert stage.ask("GET", "/v1/session", token=None, headers=basic("alice")).status == 200
    assert len(passwords.asked) == 1
    assert stage.ask("GET", "/v1/session", token=None, headers=basic("alice", "wrong")).status == 401
    stage.beam.reactor.advance(BASIC_S)
    assert stage.ask("GET", "/v1/session", token=None, headers=basic("alice")).status == 200
    assert len(passwords.asked) == 3


def test_a_session_ends(stage: Stage, passwords: Passwords) -> None:
    """After some hours, when its user logs out, and when the settings name the user no more."""
    tokens = [told(log_in(stage, "alice"))["token"] for _ in range(3)]
    assert stage.ask("DELETE", "/v1/login", token=tokens[0]).status == 204
    assert [stage.ask("GET", "/v1/session", token=token).status for token in tokens] == [401, 200, 200]
    stage.beam.settings.admin_users = ()
    assert stage.ask("GET", "/v1/session", token=tokens[1]).status == 401
    stage.beam.settings.admin_users = ("alice",)
    stage.beam.reactor.advance(SESSION_S)
    assert stage.ask("GET", "/v1/session", token=tokens[2]).status == 401
    assert stage.ask("DELETE", "/v1/login").status == 204
    assert stage.ask("GET", "/v1/session").status == 200


@pytest.mark.parametrize("way", ["form", "basic"])
def test_passwords_cannot_be_guessed_by_trying(stage: Stage, passwords: Passwords, way: str) -> None:
    """Wrong ones count as wrong tokens do, and who has tried too often is not even asked about."""
    for number in range(MOST_FAILURES):
        if way == "form":
            refused = log_in(stage, "alice", f"guess {number}")
        else:
            refused = stage.ask("GET", "/v1/session", token=None, headers=basic("alice", f"guess {number}"))
        assert (refused.status, told(refused)["error"]) == (401, "wrong user or password")
    assert log_in(stage, "alice").status == 429
    assert stage.ask("GET", "/v1/session").status == 429
    assert len(passwords.asked) == MOST_FAILURES
    stage.beam.reactor.advance(WINDOW_S + 1)
    assert log_in(stage, "alice").status == 200


def test_many_at_once_are_no_way_around(stage: Stage, passwords: Passwords) -> None:
    """Guesses that are still being checked count already."""
    passwords.waits = Deferred()
    body = b'{"user": "alice", "password": "guess"}'
    request = HttpRequest("POST", "/v1/login", headers={"content-type": "application/json"}, body=body)
    replies: list[HttpReply] = []
    for _ in range(MOST_FAILURES + 5):
        stage.web.routes.answer(request).addCallback(replies.append)
    assert [reply.status for reply in replies] == [429] * 5
    assert len(passwords.asked) == MOST_FAILURES


def test_right_ones_are_no_failures(stage: Stage, passwords: Passwords) -> None:
    """Whoever logs in often, or while the database is away, is not locked out."""
    for _ in range(MOST_FAILURES + 1):
        assert log_in(stage, "alice").status == 200
    passwords.fails_with = "08006"
    for _ in range(MOST_FAILURES + 1):
        check(reply := log_in(stage, "alice"), "/v1/login", "POST")
        assert reply.status == 503
    passwords.fails_with = None
    assert log_in(stage, "alice").status == 200


def test_a_foreign_page_cannot_use_a_password(stage: Stage, passwords: Passwords) -> None:
    """A browser that knows it sends it with requests of other sites too; forms cannot log in either."""
    for site in ("cross-site", "same-site"):
        reply = stage.ask("GET", "/v1/session", token=None, headers={**basic("alice"), "sec-fetch-site": site})
        assert reply.status == 403
    form = HttpRequest("POST", "/v1/login", headers={"content-type": "text/plain"}, body=b'{"user":"alice"}')
    assert stage.outcome(stage.web.routes.answer(form)).status == 415
    refused = stage.ask("GET", "/v1/session", token=None)
    assert "Basic" not in refused.headers["WWW-Authenticate"]  # else browsers would ask, and remember
    assert passwords.asked == []


@pytest.mark.parametrize(
    "body", [{}, {"user": "alice"}, {"user": 1, "password": "x"}, {"user": "a", "password": "b", "more": 1}, [], "x"]
)
def test_what_is_no_login_is_told(stage: Stage, passwords: Passwords, body: Any) -> None:
    """What is wrong with a body is said, without a guess being counted."""
    for _ in range(MOST_FAILURES + 1):
        reply = stage.ask("POST", "/v1/login", token=None, json=body)
        assert reply.status == 400
        check(reply, "/v1/login", "POST")


@pytest.mark.parametrize("given", ["Basic", "Basic !!", "Basic YQ==", "Basic OmE=", "Basic YTo=", "Basic /w=="])
def test_half_a_password_is_none(stage: Stage, passwords: Passwords, given: str) -> None:
    """Neither a user alone nor a password alone is looked up."""
    assert stage.ask("GET", "/v1/session", token=None, headers={"authorization": given}).status == 401
    assert passwords.asked == []


def test_an_empty_token_is_none() -> None:
    """Where no dashboard_token is set, nothing stands in its place."""
    stage = Stage(dashboard_token=None)
    for token in ("", " ", "None"):
        assert stage.ask("GET", "/v1/session", token=token).status == 401
