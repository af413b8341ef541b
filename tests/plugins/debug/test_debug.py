"""SET pgbeam.debug, and what the notices say."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from pgbeam_core import Lease, Notice, Project, Query, Refusal, Result, Role, Session, Target
from pgbeam_core.sql.statements import Statements
from pgbeam_debug import plugin

PRIMARY = Target("shop", Role.PRIMARY, "db.example.com", 5432)


def _query(sql: str = "SELECT 1", *, debug: str = "on", **facts: str) -> Query:
    session = Session(
        Project("shop", PRIMARY),
        "127.0.0.1",
        {"user": "app", "pgbeam.debug": debug},
        hostname=None,
        ask=plugin.variable,
    )
    query = Query(
        session,
        Statements().statement(sql.encode()),
        simple=True,
        in_transaction=False,
        answerable=True,
        arrived=0.0,
    )
    query.explain(**facts)
    return query


def _said(query: Query, result: Result) -> Any:
    return plugin.result(query.session, query, result)


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (
            {"swr": "30s", "ttl": "60s", "age": "12s", "cache": "hit"},
            "pgbeam: cache=hit age=12s ttl=60s swr=30s",
        ),
        (
            {"cache": "stale", "age": "75s", "ttl": "60s", "swr": "30s"},
            "pgbeam: cache=stale age=75s ttl=60s swr=30s",
        ),
        (
            {"upstream": "replica-host:5432", "replica": "true", "cache": "miss"},
            "pgbeam: cache=miss replica=true upstream=replica-host:5432",
        ),
        (
            {"upstream": "db.example.com:5432", "reason": "transaction", "cache": "bypass"},
            "pgbeam: cache=bypass reason=transaction upstream=db.example.com:5432",
        ),
        (
            {"zebra": "1", "apple": "2", "waited": "3ms", "shared": "true", "upstream": "db:1"},
            "pgbeam: upstream=db:1 shared=true waited=3ms apple=2 zebra=1",
        ),
    ],
)
def test_words_come_in_a_fixed_order(facts: dict[str, str], line: str) -> None:
    """Applications match on the line, so it does not depend on which plugin spoke first."""
    assert _said(_query(**facts), Result("cache")) == [Notice(line)]


def test_the_notice_is_a_plain_notice() -> None:
    """Severity NOTICE and SQLSTATE 00000."""
    (notice,) = _said(_query(cache="miss"), Result("server"))
    assert (notice.severity, notice.sqlstate) == ("NOTICE", "00000")


def test_pins_and_the_servers_time_follow() -> None:
    """What keeps a server, in order of name, and milliseconds with one decimal."""
    query = _query(cache="bypass", reason="state", upstream="db:1", waited="3ms")
    query.session.pins |= {"temp_table", "listen"}
    assert _said(query, Result("server", server_time=0.00123)) == [
        Notice("pgbeam: cache=bypass reason=state upstream=db:1 pinned=listen,temp_table waited=3ms server_time=1.2ms")
    ]


def test_inside_a_transaction_the_server_is_named_too() -> None:
    """No lease was needed there, so nobody has said which server it is."""
    query = _query(cache="bypass", reason="transaction")
    query.session.lease = Lease(Mock(), Mock(target=PRIMARY), shared=False, waited=0.0, since=0.0)
    (notice,) = _said(query, Result("server"))
    assert notice.message == "pgbeam: cache=bypass reason=transaction upstream=db.example.com:5432"
    hit = _query(cache="hit")
    hit.session.lease = query.session.lease
    assert _said(hit, Result("cache")) == [Notice("pgbeam: cache=hit")]


def test_a_malformed_annotation_is_told() -> None:
    """It was ignored, and this is the only place to learn why."""
    query = _query("/* @pgbeam:cache maxAge=abc */ /* @pgbeam:cash */ SELECT 1", cache="bypass", reason="off")
    assert [notice.message for notice in _said(query, Result("server"))] == [
        "pgbeam: cache=bypass reason=off",
        "pgbeam: annotation ignored: maxAge=abc is not a whole number of seconds",
        'pgbeam: annotation ignored: unknown annotation "cash"',
    ]


def test_nothing_is_said_where_there_is_nothing_to_say() -> None:
    """No plugin had a word on it."""
    assert _said(_query(), Result("pool", error=("08006", "no"))) == []


def test_nothing_is_said_unless_asked_for() -> None:
    """Off by default, off when set to off."""
    query = _query("/* @pgbeam:cash */ SELECT 1", debug="off", cache="hit")
    assert _said(query, Result("cache")) is None
    query.session.variables.set("debug", "on", local=False, in_transaction=False)
    assert _said(query, Result("cache"))
    query.session.variables.set("debug", None, local=False, in_transaction=False)
    assert _said(query, Result("cache")) is None


@pytest.mark.parametrize(
    ("value", "shown"), [("on", "on"), ("True", "on"), ("1", "on"), ("off", "off"), ("n", "off"), (None, "off")]
)
def test_it_is_a_boolean_like_any_of_postgresqls(value: str | None, shown: str) -> None:
    """Unset it is off."""
    assert plugin.variable("debug", value) == shown


def test_other_values_are_refused() -> None:
    """In PostgreSQL's words, with SQLSTATE 22023; other variables are not this plugin's."""
    assert plugin.variable("debug", "loud") == Refusal("22023", 'parameter "pgbeam.debug" requires a Boolean value')
    assert plugin.variable("cache", "on") is None


@pytest.mark.parametrize("debug", ["on", "off"])
def test_each_execution_of_a_batch_has_its_own_line(debug: str) -> None:
    """In their order, as if they had come one by one; nothing is said to who has not asked."""
    queries = [_query(debug=debug, cache="bypass", reason=reason) for reason in ("transaction", "pipeline")]
    results = [Result("server")] * 2
    said = plugin.result_batch(queries[0].session, queries, results)
    if debug == "off":
        assert said is None
    else:
        assert said == [_said(query, result) for query, result in zip(queries, results, strict=True)]
        assert [each[0].message for each in said] == [
            "pgbeam: cache=bypass reason=transaction",
            "pgbeam: cache=bypass reason=pipeline",
        ]
