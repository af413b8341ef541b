"""Which project a client gets, and as whom and for what it asks the server then."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from typing import Any

import pytest

from pgbeam_core.errors import PgBeamError, SettingsError
from pgbeam_core.net.channel import Channel
from pgbeam_core.net.project_choice import choose
from pgbeam_core.settings import Merged, Settings, validate
from pgbeam_core.settings.where import Origin
from pgbeam_core.testing import FakePostgres, Rehearsal, table

URL = "postgresql://db.example.com"
PROJECTS: dict[str, Any] = {
    "shop": {
        "upstream": URL,
        "hostnames": ["Shop.example.com"],
        "default": True,
        "databases": {"reports": {"database": "shop_db", "user": "reporter"}, "both": {}},
    },
    "blog": {"upstream": URL, "hostnames": ["blog.example.com"], "databases": {"posts": {}, "both": {}, "twice": {}}},
    "wiki": {"upstream": URL, "databases": {"twice": {}}},
}


def read(projects: dict[str, Any]) -> Settings:
    """Settings with these projects."""
    merged = Merged()
    merged.lay({"projects": projects, "plugins": {"order": []}}, Origin("test"))
    return validate(merged, {})


def chosen(hostname: str | None = None, projects: dict[str, Any] = PROJECTS, **parameters: str) -> str:
    """The name of the project, or the error."""
    try:
        found, _ = choose(read(projects), None, Channel("192.0.2.1", hostname=hostname), {"user": "app", **parameters})
    except PgBeamError as error:
        return error.message if error.sqlstate == "08004" else f"{error.sqlstate}: {error.message}"
    return found.name


@pytest.mark.parametrize(
    ("hostname", "parameters", "project"),
    [
        (None, {}, "shop"),
        ("shop.example.com", {}, "shop"),
        ("BLOG.example.com.", {}, "blog"),
        ("other.example.com", {}, "shop"),
        (None, {"database": "posts"}, "blog"),
        ("shop.example.com", {"database": "posts"}, "shop"),
        ("blog.example.com", {"database": "reports"}, "blog"),
        (None, {"database": "both"}, "shop"),
        (None, {"database": "twice"}, 'database "twice" is an alias in several projects'),
        ("other.example.com", {"database": "posts"}, "blog"),
        (None, {"options": "project=wiki"}, "wiki"),
        (None, {"options": "-c work_mem=1MB project=wiki"}, "wiki"),
        (None, {"options": "project=wiki project=blog"}, "blog"),
        (None, {"options": "-c project=wiki"}, "shop"),
        (None, {"options": "-c\\ project=wiki"}, "shop"),
        (None, {"options": "project=wiki", "database": "posts"}, "wiki"),
        ("blog.example.com", {"options": "project=blog"}, "blog"),
        (
            "blog.example.com",
            {"options": "project=wiki"},
            'options ask for project "wiki", but hostname "blog.example.com" is that of another',
        ),
        (None, {"options": "project=nope"}, 'project "nope" not found'),
        (None, {"options": "project="}, 'project "" not found'),
    ],
)
def test_the_first_that_tells_decides(hostname: str | None, parameters: dict[str, str], project: str) -> None:
    """Options, then the host name, then an alias, then the default."""
    assert chosen(hostname, **parameters) == project


@pytest.mark.parametrize(("hostname", "shown"), [(None, ""), ("x.example.com", "x.example.com")])
def test_without_a_default_a_client_must_say(hostname: str | None, shown: str) -> None:
    """The message is the one that applications match on."""
    several = {name: {**PROJECTS[name], "default": False} for name in ("shop", "blog")}
    assert chosen(hostname, several) == f'project not found for hostname "{shown}"'


def test_what_only_chooses_is_not_for_the_server() -> None:
    """PostgreSQL would refuse an argument that it does not know; the others reach it."""
    parameters = {"user": "app", "options": "-c work_mem=1MB project=wiki -c search_path=a\\ b"}
    _, rest = choose(read(PROJECTS), None, Channel("192.0.2.1"), parameters)
    assert rest["options"] == "-c work_mem=1MB -c search_path=a\\ b"
    untouched = {"user": "app", "options": "  -c   work_mem=1MB "}
    assert choose(read(PROJECTS), None, Channel("192.0.2.1"), untouched)[1] == untouched


def test_an_alias_changes_what_the_server_is_asked_for() -> None:
    """Database, user and parameters; what the client gives itself goes before the alias's parameters."""
    alias = {"database": "shop_db", "user": "reporter", "parameters": {"TimeZone": "UTC", "work_mem": "1MB"}}
    servers = {"primary:5432": FakePostgres({"SELECT 1": table(["a"], [["1"]])})}
    with Rehearsal({}, servers=servers, project={"databases": {"reports": alias}}) as rehearsal:
        rehearsal.login(database="reports", timezone="CET", options="-c statement_timeout=1s")
        session = next(iter(rehearsal.beam.sessions.values()))
        assert (session.user, session.database) == ("app", "reports")
        assert (session.identity.user, session.identity.database) == ("reporter", "shop_db")
        assert dict(session.identity.parameters) == {
            "options": "-c statement_timeout=1s",
            "timezone": "CET",
            "work_mem": "1MB",
        }
        assert session.base["work_mem"] == "1MB"
        rehearsal.login(database="other")
        last = list(rehearsal.beam.sessions.values())[-1]
        assert last.identity[:2] == ("app", "other")


@pytest.mark.parametrize("name", ["user", "Database", "options", "replication", ""])
def test_an_alias_has_run_time_parameters_only(name: str) -> None:
    """A slip is told at the start, with the key."""
    wrong = {"shop": {"upstream": URL, "databases": {"a": {"parameters": {name: "x"}}}}}
    with pytest.raises(SettingsError, match=r"projects\.shop\.databases\.a\.parameters"):
        read(wrong)
