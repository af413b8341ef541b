"""The JSON API against its own description, and what it does with wrong input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from twisted.logger import Logger

from pgbeam_core.api.query import Role, Target
from pgbeam_core.errors import PgBeamError
from pgbeam_core.settings import Project
from pgbeam_core.web.page import Files
from pgbeam_core.web.replies import HttpReply, HttpRequest

from .sites import Stage, told

HASH = "0123456789abcdef"
RULES = "/v1/projects/shop/cache-rules"
log = Logger("tests.web")


class Rules:
    """In the place of the cache's."""

    def __init__(self, stage: Stage) -> None:
        self.rules: dict[str, dict[str, Any]] = {}
        control = stage.beam.control
        control.answer("cache-rules.rules", self.list)
        control.answer("cache-rules.set", self.set)
        control.answer("cache-rules.unset", lambda request: self.rules.pop(request["query_hash"], None) is not None)

    def list(self, request: Any) -> list[dict[str, Any]]:
        more = {"scope": "project", "query": None}
        return [{"query_hash": query_hash, **rule, **more} for query_hash, rule in self.rules.items()]

    def set(self, request: Any) -> None:
        if request["query_hash"] == "f" * 16:
            raise PgBeamError("there are 10000 rules already", sqlstate="53400")
        self.rules[request["query_hash"]] = {name: request[name] for name in ("enabled", "ttl", "swr")}


SHAPE = {
    "project": "shop",
    "query_hash": HASH,
    "query": "SELECT $1",
    "kind": "SELECT",
    "reason": None,
    "calls": 3,
    "hits": 1,
    "avg_ms": 1.5,
    "p95_ms": 2.0,
    "total_ms": 4.5,
    "avg_bytes": 10,
    "stability": None,
    "recommendation": "fair",
    "rule": {"enabled": True, "ttl": 60, "swr": None},
    "first_seen": "2024-01-01T00:00:00+00:00",
    "last_seen": "2024-01-01T00:00:00+00:00",
    "what_if": {"window_s": 10, "calls": 3, "hits": 2, "asked": 1, "hit_ratio": 0.67, "saved_s": 0.1, "oldest_s": 4},
}


@pytest.fixture
def stage() -> Iterator[Stage]:
    """With a project, counters, a table, shapes and rules."""
    primary = Target("shop", Role.PRIMARY, "db.example.com", 5432)
    stage = Stage(projects={"shop": Project("shop", primary)})
    control = stage.beam.control
    control.answer("stats", lambda _: {"projects": {"shop": {"queries": 3}}, "pool": {}})
    control.answer("workers", lambda _: [{"worker": 1, "process": 7, "clients": 0, "up_s": 1.5}])
    control.answer("tables", lambda request: tables(request["names"]))
    seen = {"stats": {}, "latencies": {}, "panels": [], "addresses": [["127.0.0.1", 6432]], "up_s": 1.0}
    control.answer("view", lambda _: {**seen, "log_level": "info", "projects": ["shop"]})
    control.answer("cache.shapes", lambda request: {"shapes": [SHAPE], "total": 1})
    control.answer("console", console)
    Rules(stage)
    stage.start_looking()
    yield stage
    stage.stop_looking()


def console(request: Any) -> dict[str, Any]:
    """In the place of the console's: it knows one database and one client."""
    verb, _, about = request["command"].partition(" ")
    if verb.lower() not in request["verbs"]:
        raise PgBeamError(f"{verb} cannot be said here", sqlstate="42501")
    if about not in ('"shop"', "7", ""):
        raise PgBeamError(f"no such database: {about}", sqlstate="3D000")
    return {"tag": verb, "pending": verb == "PAUSE" and not request["again"]}


def tables(names: list[str]) -> dict[str, Any]:
    known = {name: {"columns": ["a", "b"], "rows": [["x", None]] * 700} for name in ("POOLS", "CLIENTS", "SERVERS")}
    return {name: known[name] for name in names if name in known}


def description() -> Any:
    reply = Files().openapi(HttpRequest("GET", "/v1/openapi.json"))
    return json.loads(reply.body)


def test_the_description_is_openapi() -> None:
    """Generators of clients can read it."""
    validate(description())


def test_every_address_is_described_and_no_other(stage: Stage) -> None:
    """Nobody finds something that is written nowhere, or looks for something that is not there."""
    described = {
        (method.upper(), path)
        for path, methods in description()["paths"].items()
        for method in methods
        if method != "parameters"
    }
    served = {(route.method, route.path) for route in stage.web.routes}
    assert served - described == {("GET", "/"), ("GET", "/static/{name}")}
    assert described <= served


def check(reply: HttpReply, path: str, method: str = "GET") -> None:
    """Raises unless a reply is as the description says for that path and status."""
    document = description()
    told_ = document["paths"][path][method.lower()]["responses"].get(str(reply.status))
    assert told_ is not None, f"{method} {path} may not be answered with {reply.status}"
    if "$ref" in told_:
        told_ = document["components"]["responses"][told_["$ref"].rpartition("/")[2]]
    content = told_.get("content")
    if content is None:
        assert reply.body == b""
        return
    kind = reply.content_type.partition(";")[0]
    assert kind in content
    if kind == "application/json":
        schema = {**content[kind]["schema"], "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(reply.body))


@pytest.mark.parametrize("path", [path for path, methods in description()["paths"].items() if "get" in methods])
def test_replies_are_as_described(stage: Stage, path: str) -> None:
    """Each address answers with what its description promises, found or not."""
    stage.beam.reactor.advance(2)
    log.info("something happened")
    stage.ask("PUT", f"{RULES}/{HASH}", json={"ttl": 60})
    here = re.sub(r"\{project\}", "shop", path).replace("{query_hash}", HASH).replace("{name}", "pools")
    reply = stage.ask("GET", here)
    assert reply.status == 200
    check(reply, path)
    check(stage.ask("GET", here, query={"no-such": "1"}), path) if "/v1/" in path and "openapi" not in path else None
    if "{project}" in path:
        missing = stage.ask("GET", here.replace("shop", "nowhere"))
        assert missing.status == 404
        check(missing, path)


def test_a_rule_is_made_shown_and_taken_away(stage: Stage) -> None:
    """PUT makes it as it was given, GET shows it, DELETE ends it, and a second DELETE says that it is gone."""
    path, one = f"{RULES}/{HASH}", f"{RULES}/{{query_hash}}".replace("shop", "{project}")
    assert stage.ask("GET", path).status == 404
    made = stage.ask("PUT", path, json={"enabled": True, "ttl": 300, "swr": 60})
    assert made.status == 200
    check(made, one, "PUT")
    shown = told(stage.ask("GET", path))
    assert (shown["enabled"], shown["ttl"], shown["swr"]) == (True, 300, 60)
    assert [rule["query_hash"] for rule in told(stage.ask("GET", RULES))["rules"]] == [HASH]
    gone = stage.ask("DELETE", path)
    assert gone.status == 204
    check(gone, one, "DELETE")
    again = stage.ask("DELETE", path)
    assert again.status == 404
    check(again, one, "DELETE")


def test_what_is_not_given_is_the_default(stage: Stage) -> None:
    """An empty rule switches caching on with the project's seconds."""
    made = told(stage.ask("PUT", f"{RULES}/{HASH}", json={}))
    assert (made["enabled"], made["ttl"], made["swr"]) == (True, None, None)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[" * 5000, "JSON"),
        (b"[]", "object"),
        (b'{"tll": 5}', "tll"),
        (b'{"enabled": 1}', "enabled"),
        (b'{"ttl": -1}', "ttl"),
        (b'{"ttl": 1.5}', "ttl"),
        (b'{"ttl": true}', "ttl"),
        (b'{"swr": "60"}', "swr"),
        (b'{"swr": 2147483648}', "swr"),
    ],
)
def test_a_wrong_rule_names_what_is_wrong(stage: Stage, body: bytes, word: str) -> None:
    """And changes nothing."""
    reply = stage.ask("PUT", f"{RULES}/{HASH}", body=body, headers={"content-type": "application/json"})
    assert reply.status == 400
    assert word in told(reply)["error"]
    check(reply, "/v1/projects/{project}/cache-rules/{query_hash}", "PUT")
    assert told(stage.ask("GET", RULES))["rules"] == []


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_cannot_make_a_rule(stage: Stage, kind: str) -> None:
    """What a page without scripts could send is refused by its kind alone."""
    reply = stage.ask("PUT", f"{RULES}/{HASH}", body=b"{}", headers={"content-type": kind})
    assert reply.status == 415


@pytest.mark.parametrize("query_hash", ["", "0123", "0123456789ABCDEF", "0123456789abcdeg", "0" * 17, "%2e%2e%2f"])
def test_a_wrong_hash_is_told(stage: Stage, query_hash: str) -> None:
    """A slip of the pen makes no rule that never holds."""
    assert stage.ask("PUT", f"{RULES}/{query_hash}", json={}).status == 400


def test_a_dashboard_that_only_shows_changes_nothing() -> None:
    """Without dashboard_write the token lets look, and is told how to allow more."""
    stage = Stage(dashboard_write=False, projects={"shop": None})
    rules = Rules(stage)
    for method in ("PUT", "DELETE"):
        reply = stage.ask(method, f"{RULES}/{HASH}", json={})
        assert reply.status == 403
        assert "dashboard_write" in told(reply)["hint"]
    assert rules.rules == {}
    assert told(stage.ask("GET", RULES)) == {"rules": []}


def test_what_the_cache_says_no_to_is_told(stage: Stage) -> None:
    """With its own words."""
    reply = stage.ask("PUT", f"{RULES}/{'f' * 16}", json={})
    assert reply.status == 409
    assert "10000" in told(reply)["error"]


def test_without_the_cache_there_are_no_shapes() -> None:
    """A plugin that is off is told apart from a failure."""
    stage = Stage(projects={"shop": None})
    for path in ("/v1/shapes", RULES, "/v1/pools"):
        assert stage.ask("GET", path).status == 404


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/shapes", {"limit": "0"}),
        ("/v1/shapes", {"limit": "501"}),
        ("/v1/shapes", {"limit": "ten"}),
        ("/v1/shapes", {"limit": "٣"}),
        ("/v1/shapes", {"offset": "-1"}),
        ("/v1/shapes", {"ttl": "9999999999"}),
        ("/v1/shapes", {"sort": "nonsense"}),
        ("/v1/shapes", {"search": "x" * 201}),
        ("/v1/shapes", {"serach": "x"}),
        ("/v1/history", {"since": "1e3"}),
        ("/v1/log", {"since": " 1"}),
        ("/v1/tables/pools", {"limit": "1000"}),
        ("/v1/stats", {"x": ""}),
    ],
)
def test_wrong_parameters_are_named(stage: Stage, path: str, query: dict[str, str]) -> None:
    """A typing error is no reason to show everything, or nothing."""
    reply = stage.ask("GET", path, query=query)
    assert reply.status == 400
    assert any(name in told(reply)["error"] for name in query)


def test_tables_are_cut(stage: Stage) -> None:
    """A table of thousands of clients does not hold the loop: the reply has some, and says how many there are."""
    table = told(stage.ask("GET", "/v1/pools", query={"limit": "20"}))
    assert (len(table["rows"]), table["total"]) == (20, 700)
    assert len(told(stage.ask("GET", "/v1/tables/Pools"))["rows"]) == 500


def test_charts_go_on_from_where_one_was(stage: Stage) -> None:
    """Who has seen some points is given the later ones only; a PgBeam that was started anew gives all it has."""
    stage.beam.reactor.advance(2)
    points = told(stage.ask("GET", "/v1/history"))["points"]
    stage.beam.reactor.advance(2)
    later = told(stage.ask("GET", "/v1/history", query={"since": str(points[-1]["number"])}))["points"]
    assert [point["number"] for point in later] == [points[-1]["number"] + 1]
    assert len(told(stage.ask("GET", "/v1/history", query={"since": "999999"}))["points"]) == len(points) + 1


def test_charts_remember_ten_minutes(stage: Stage) -> None:
    """And no more, however long PgBeam runs."""
    stage.beam.reactor.pump([2.0] * 400)
    assert len(told(stage.ask("GET", "/v1/history"))["points"]) == 300


def test_the_log_is_shown_without_secrets(stage: Stage) -> None:
    """Lines come with their fields, passwords of URLs masked, and no more of them than there is room for."""
    for number in range(300):
        log.info("number {number} postgresql://u:s3cret@db/x", number=number)
    lines = told(stage.ask("GET", "/v1/log"))["lines"]
    assert len(lines) == 200
    assert lines[-1]["event"].startswith("number 299")
    assert "s3cret" not in json.dumps(lines)
    assert told(stage.ask("GET", "/v1/log", query={"since": str(lines[-1]["number"])}))["lines"] == []


def test_projects_have_no_passwords() -> None:
    """What settings hold for PgBeam alone stays there."""
    primary = Target("shop", Role.PRIMARY, "db.example.com", 5432)
    stage = Stage(projects={"shop": Project("shop", primary, passwords={primary: "s3cret"})})
    reply = stage.ask("GET", "/v1/projects")
    assert b"s3cret" not in reply.body
    assert told(reply)["projects"][0]["primary"] == "db.example.com:5432"


CONSOLE = "/v1/console"


def order(stage: Stage, command: str, **more: Any) -> HttpReply:
    reply = stage.ask("POST", CONSOLE, json={"command": command, **more})
    check(reply, CONSOLE, "POST")
    return reply


def test_a_client_is_ended_and_a_database_paused(stage: Stage) -> None:
    """What is ordered is done, and told to be under way where it waits."""
    assert told(order(stage, "KILL_CLIENT 7")) == {"tag": "KILL_CLIENT", "pending": False}
    assert told(order(stage, 'PAUSE "shop"')) == {"tag": "PAUSE", "pending": True}
    assert told(order(stage, 'PAUSE "shop"', again=True)) == {"tag": "PAUSE", "pending": False}


@pytest.mark.parametrize("command", ["SHUTDOWN", "SET log_level = debug", "RELOAD", "SHOW CONFIG", "KILL", "SUSPEND"])
def test_no_more_than_that_is_ordered(stage: Stage, command: str) -> None:
    """Who may steer the dashboard does not end PgBeam, nor read or change its settings."""
    assert order(stage, command).status == 403


def test_wrong_orders_are_told(stage: Stage) -> None:
    """What is not there, and what is no order at all."""
    assert order(stage, 'PAUSE "nowhere"').status == 404
    for body in ([], {}, {"command": 7}, {"command": "PAUSE", "again": "yes"}, {"command": "PAUSE", "more": 1}):
        sent = {"body": json.dumps(body).encode(), "headers": {"content-type": "application/json"}}
        reply = stage.ask("POST", CONSOLE, **sent)
        check(reply, CONSOLE, "POST")
        assert reply.status == 400
    assert stage.ask("POST", CONSOLE, body=b"PAUSE", headers={"content-type": "text/plain"}).status == 415


def test_who_only_looks_orders_nothing() -> None:
    """Without dashboard_write, and without the token."""
    stage = Stage(dashboard_write=False)
    stage.beam.control.answer("console", console)
    assert stage.ask("POST", CONSOLE, json={"command": "PAUSE"}).status == 403
    assert stage.ask("POST", CONSOLE, json={"command": "PAUSE"}, token=None).status == 401
