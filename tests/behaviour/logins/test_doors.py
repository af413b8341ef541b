"""Every way in: TLS of client and server, how that asks, who checks, how servers are shared, users new and known."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg2
import pytest

from tests.behaviour.clusters import PASSWORD, installation
from tests.behaviour.loops import run

from .doors import AUTHS, LEGS, METHODS, MODES, TLS, Doors, fits

pytestmark = pytest.mark.pg


def rows() -> Iterator[Any]:
    """Every combination. A quarter of them, in which each two of their words meet, is for everyday."""
    for places in itertools.product(*map(range, map(len, (TLS, LEGS, AUTHS, MODES)))):
        tls, leg, auth, mode = places
        words = [*TLS][tls], LEGS[leg], AUTHS[auth], MODES[mode]
        yield pytest.param(*words, id="-".join(words), marks=[pytest.mark.slow] if (sum(places) + auth) % 4 else [])


@pytest.fixture(scope="module", params=[15, pytest.param(18, marks=pytest.mark.slow)], ids=str)
def doors(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """One for all tests of a version."""
    found = installation(request.param)
    if found is None:
        pytest.skip(f"PostgreSQL {request.param} is not installed here")
    made = Doors(found, tmp_path_factory.mktemp("doors"), 40)
    yield made
    made.stop()


def who(given: dict[str, Any]) -> Any:
    """Who the session is of a client that connects so."""
    with psycopg.connect(**given) as client:
        return client.execute("SELECT session_user").fetchone()


@pytest.mark.parametrize(("tls", "leg", "auth", "mode"), [*rows()])
def test_every_door(doors: Doors, tls: str, leg: str, auth: str, mode: str) -> None:
    """Whoever has the right password is let in, new or known, and nobody else, with the error that PostgreSQL has."""
    if leg not in doors.legs:
        pytest.skip("this server knows no TLS")
    for method in METHODS:
        project = f"{auth}-{mode}-{leg}"
        user = doors.new_user(project, method)
        given = doors.login(project, user, tls)
        if not fits(auth, method):
            with pytest.raises(psycopg.OperationalError, match="of no use"):
                psycopg.connect(**given)
            continue
        if method != "trust" or auth != "passthrough":
            refused = f'password authentication failed for user "{user}"'
            for _ in range(2):
                with pytest.raises(psycopg.OperationalError, match=refused):
                    psycopg.connect(**{**given, "password": "wrong"})
                assert who(given) == (user,)
        assert who(given) == (user,)


def leg_of(doors: Doors) -> str:
    """An encrypted one where the server knows how."""
    return doors.legs[-2] if len(doors.legs) > 1 else doors.legs[0]


def contexts(doors: Doors) -> dict[str, Any]:
    """TLS as asyncpg is given it."""
    checking = ssl.create_default_context(cafile=doors.files["ca.crt"])
    direct = ssl.create_default_context(cafile=doors.files["ca.crt"])
    direct.set_alpn_protocols(["postgresql"])  # which is what tells a server what begins here
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    return {"none": False, "prefer": "prefer", "require": unchecked, "verify-full": checking, "direct": direct}


@pytest.mark.parametrize("tls", [*TLS])
def test_every_door_for_asyncpg(doors: Doors, tls: str) -> None:
    """New, known, with a wrong password; encrypted where it asked for that, without a word before too."""

    async def connect(project: str, user: str, password: str) -> Any:
        client = await asyncpg.connect(
            host="localhost", port=doors.beam.port, user=user, password=password, database="shop",
            ssl=contexts(doors)[tls], direct_tls=tls == "direct", server_settings={"options": f"project={project}"},
        )  # fmt: skip
        try:
            return await client.fetchval("SELECT session_user")
        finally:
            await client.close()

    async def all_of_them() -> None:
        for auth, mode, method in itertools.product(AUTHS, MODES, METHODS):
            project = f"{auth}-{mode}-{leg_of(doors)}"
            user = doors.new_user(project, method)
            if fits(auth, method):
                for _ in range(2):
                    assert await connect(project, user, PASSWORD) == user
                if method != "trust" or auth != "passthrough":
                    with pytest.raises(asyncpg.InvalidPasswordError):
                        await connect(project, user, "wrong")
                assert await connect(project, user, PASSWORD) == user

    run(asyncio.wait_for(all_of_them(), 60))


@pytest.mark.slow
@pytest.mark.parametrize("tls", [*TLS])
def test_every_door_for_psycopg2(doors: Doors, tls: str) -> None:
    """New, known, with a wrong password."""
    for auth, mode, method in itertools.product(AUTHS, MODES, METHODS):
        project = f"{auth}-{mode}-{leg_of(doors)}"
        user = doors.new_user(project, method)
        given = doors.login(project, user, tls)
        if fits(auth, method):
            for _ in range(2):
                client = psycopg2.connect(**given)
                assert client.info.ssl_in_use is (tls != "none")
                cursor = client.cursor()
                cursor.execute("SELECT session_user")
                assert cursor.fetchone() == (user,)
                client.close()
            if method != "trust" or auth != "passthrough":
                with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                    psycopg2.connect(**{**given, "password": "wrong"})


NODE = """
const fs = require('fs'), { Client } = require('pg')
const one = async given => {
  const client = new Client(given)
  await client.connect()
  const { rows } = await client.query('SELECT session_user AS it')
  await client.end()
  return rows[0].it
}
const all = async cases => {
  for (const given of cases) {
    if (given.ssl && given.ssl.ca) given.ssl.ca = fs.readFileSync(given.ssl.ca).toString()
    for (let n = 0; n < 2; n++) {
      const it = await one(given)
      if (it !== given.user) throw new Error(it + ' is not ' + given.user)
    }
    if (given.refusing) {
      const said = await one({ ...given, password: 'wrong' }).catch(error => error.code)
      if (said !== '28P01') throw new Error(given.user + ', wrong password: ' + said)
    }
  }
}
all(JSON.parse(fs.readFileSync(0))).catch(error => { console.error(error); process.exit(1) })
"""


def test_every_door_for_node(doors: Doors, node: Path) -> None:
    """node-postgres: without TLS, unchecked, with a CA of one's own; new, known, with a wrong password."""
    ways = {"none": False, "require": {"rejectUnauthorized": False}, "verify-full": {"ca": doors.files["ca.crt"]}}
    cases = [
        {
            "host": "localhost",
            "port": doors.beam.port,
            "user": doors.new_user(f"{auth}-{mode}-{leg_of(doors)}", method),
            "password": PASSWORD,
            "database": "shop",
            "ssl": tls,
            "options": f"project={auth}-{mode}-{leg_of(doors)}",
            "refusing": method != "trust" or auth != "passthrough",
        }
        for tls, auth, mode, method in itertools.product(ways.values(), AUTHS, MODES, METHODS)
        if fits(auth, method)
    ]
    (node / "doors.js").write_text(NODE)
    command = ["node", "doors.js"]
    done = subprocess.run(
        command, input=json.dumps(cases), check=False, cwd=node, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
@pytest.mark.parametrize(("tls", "auth"), [*itertools.product(["none", "require", "direct"], AUTHS)])
def test_channel_binding(doors: Doors, tls: str, auth: str, binding: str) -> None:
    """Where PgBeam checks, libpq may insist on it; it is refused where it cannot be, and then by libpq itself."""
    project = f"{auth}-transaction-{leg_of(doors)}"
    user = doors.new_user(project, "scram")
    given = doors.login(project, user, tls)
    strict = {**given, "channel_binding": binding}
    if binding == "require" and tls == "none":
        with pytest.raises(psycopg.OperationalError, match="channel binding"):
            psycopg.connect(**strict)
        return
    if binding == "require" and auth == "passthrough":
        with pytest.raises(psycopg.OperationalError, match="channel binding"):
            psycopg.connect(**strict)
        assert who(given) == (user,)
    for _ in range(2):
        assert who(strict) == (user,)


def test_only_scram_will_do(doors: Doors) -> None:
    """A client that never sends its password, by require_auth, is let in where PgBeam checks, and where it is known."""
    for auth, tls in itertools.product(AUTHS, ("none", "require")):
        project = f"{auth}-transaction-{leg_of(doors)}"
        user = doors.new_user(project, "scram")
        given = doors.login(project, user, tls)
        if auth == "passthrough" and tls == "require":
            with pytest.raises(psycopg.OperationalError, match="server requested a cleartext password"):
                psycopg.connect(**given, require_auth="scram-sha-256")
            assert who(given) == (user,)
        assert who({**given, "require_auth": "scram-sha-256"}) == (user,)
