"""The dashboard's door for operators, with real passwords: PostgreSQL's word or PgBeam's own, and nobody else's."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from ..clusters import PASSWORD, Cluster, free_port
from ..conftest import BeamFactory
from . import settings_of

pytestmark = pytest.mark.pg
OPERATORS = {"admin_users": ["with_scram", "app"], "stats_users": ["with_md5"]}


def session(port: int, user: str, password: str) -> tuple[int, Any]:
    """Status and reply of the API to that user, by Basic and by a token, which must agree."""
    address = f"http://127.0.0.1:{port}/v1"
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    by_basic = _ask(f"{address}/session", {"Authorization": f"Basic {basic}"})
    body = json.dumps({"user": user, "password": password}).encode()
    status, told = _ask(f"{address}/login", {"Content-Type": "application/json"}, body)
    if status != 200:
        assert by_basic[0] == status
        return status, told
    by_token = _ask(f"{address}/session", {"Authorization": f"Bearer {told['token']}"})
    assert by_basic == by_token
    return by_token


def _ask(url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("workers", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("auth", ["passthrough", "scram"])
def test_operators_get_in_with_their_passwords(
    clusters: Callable[[int], Cluster], beam: BeamFactory, auth: str, workers: int
) -> None:
    """admin_users to order, stats_users to look; a wrong password, a user who is no operator, and one whom PostgreSQL
    asks for no password stay outside, and none of it is in the log. Paused or not makes no difference."""
    cluster, port = clusters(15), free_port()
    project: dict[str, Any] = {"auth": auth}
    if auth == "scram":
        with cluster.connect() as boss:
            found = boss.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL").fetchall()
        project["users"] = dict(found)
    running = beam(cluster, "transaction", settings=settings_of(port, workers=workers, **OPERATORS), project=project)
    assert session(port, "with_scram", PASSWORD)[1]["write"] is True
    with psycopg.connect(running.url("with_scram", "pgbeam", PASSWORD), autocommit=True) as operator:
        operator.execute("PAUSE")
        assert session(port, "with_md5", PASSWORD)[1]["write"] is False
        operator.execute("RESUME")
    for user, password in (("with_scram", "not-this"), ("with_password", PASSWORD), ("app", "whatever")):
        assert session(port, user, password)[0] == 401
    assert "not-this" not in running.log
    assert PASSWORD not in running.log
