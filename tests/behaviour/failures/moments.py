"""What a client may be in the middle of when the network goes wrong, and what it made of that."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from tests.behaviour import frames
from tests.behaviour.relay import Fault, Relay
from tests.behaviour.wireclient import Closed, Frame, LoginRefused, WireClient, error_fields

HANGS_S = 30.0
"""A client that hears nothing for so long hangs: more than the longest of PgBeam's times together."""
RIGHT, CLOSED, DEAF = "right", "closed", "deaf"
"""deaf: it is the client whom nothing reaches."""
ROWS = 100_000
FAR_IN = 200_000
"""Bytes: in the middle of a large reply."""
OWN_WORDS = b"pg_listening_channels"
"""In what PgBeam asks a server after a statement of which only the server knows what it has left."""
IDENTIFYING = b"pg_catalog.pg_is_in_recovery"
SCHEMA = "CREATE TABLE marks (word text NOT NULL); GRANT ALL ON marks TO app"

_serials = itertools.count(1)


@dataclass
class Scene:
    """One client, through a relay that goes wrong, to a project of its own."""

    project: str
    port: int
    """Where the client connects."""
    relay: Relay
    fault: Fault
    direct: str
    """URL of the server itself."""
    patience: float = HANGS_S

    def client(self) -> WireClient:
        """One that has logged in."""
        client = WireClient(self.port, timeout=self.patience)
        options = {"user": "app", "database": "shop", "options": f"project={self.project}"}
        try:
            client.send(frames.startup(options))
            client._authenticate("app", "")
        except BaseException:
            client.close()
            raise
        return client

    def word(self) -> str:
        """One that was never said before."""
        return f"w{self.project}x{next(_serials)}w"

    def at(self, words: str | bytes, after: int = 0) -> None:
        """The fault begins on the connection on which these words go up, some bytes of the answer later."""
        exact = words.encode() if isinstance(words, str) else words
        self.relay.at(exact, Fault(self.fault.kind, after or self.fault.after))

    def there(self, word: str) -> int:
        """How often the word is in the table."""
        with psycopg.connect(self.direct, autocommit=True) as boss:
            row = boss.execute("SELECT count(*) FROM marks WHERE word = %s", [word]).fetchone()
        assert row is not None
        return int(row[0])


def reply(client: WireClient) -> list[Frame]:
    """What comes up to ReadyForQuery, or to the end of the connection, which is the tag `!`."""
    got: list[Frame] = []
    while not got or got[-1].tag != b"Z":
        try:
            got.append(client.frame())
        except Closed as closed:
            return [*got, Frame(b"!", closed.rest)]
        except ConnectionError:
            return [*got, Frame(b"!", b"")]
    return got


def asked(client: WireClient, data: bytes) -> list[Frame]:
    """Send that, and what comes."""
    try:
        client.send(data)
    except ConnectionError:
        return [Frame(b"!", b"")]
    return reply(client)


def outcome(got: list[Frame], word: str | None = None, rows: int | None = None) -> str:
    """`right`, an SQLSTATE, or `closed`. A row of anybody else's, or a part that passes for the whole, is a bug."""
    if word is not None:
        mine = [frame for frame in got if frame.tag in (b"D", b"d")]
        assert all(word.encode() in frame.body for frame in mine), "a foreign row"
        if rows is not None and any(frame.tag == b"C" for frame in got):
            assert len(mine) == rows, f"{len(mine)} rows of {rows} passed for the whole reply"
    errors = [error_fields(frame.body)["C"] for frame in got if frame.tag == b"E"]
    assert len(errors) < 2, errors
    if errors:
        assert not any(frame.tag == b"C" for frame in got), "an error behind a success"
        return errors[0]
    if got[-1].tag == b"!":
        return CLOSED
    return RIGHT


def dial(scene: Scene) -> str:
    """The network is wrong before anybody connects."""
    scene.relay.begin(scene.fault)
    return _logs_in(scene)


def login(scene: Scene) -> str:
    """It goes wrong when the client, or PgBeam, has said who it is."""
    scene.at(b"user\0app\0")
    return _logs_in(scene)


def identifying(scene: Scene) -> str:
    """It goes wrong while PgBeam asks a new server who it is."""
    scene.at(IDENTIFYING)
    return _logs_in(scene)


def _logs_in(scene: Scene) -> str:
    word = scene.word()
    try:
        with scene.client() as client:
            return outcome(asked(client, frames.query(f"SELECT '{word}'")), word, 1)
    except LoginRefused as refused:
        return error_fields(refused.frames[-1].body)["C"]
    except (Closed, ConnectionError):
        return CLOSED


def handshake(scene: Scene) -> str:
    """It goes wrong in the TLS handshake."""
    scene.at(b"\x16\x03")
    url = f"postgresql://app@127.0.0.1:{scene.port}/shop?sslmode=require&connect_timeout={scene.patience:.0f}"
    try:
        with psycopg.connect(url, options=f"project={scene.project}", autocommit=True) as client:
            word = scene.word()
            assert client.execute(f"SELECT '{word}'").fetchone() == (word,)
            return RIGHT
    except psycopg.OperationalError as error:
        if "timeout expired" in str(error):
            raise TimeoutError from None
        return _told(error)


def _told(error: psycopg.Error) -> str:
    return "08006" if "could not connect to" in str(error) or "login timed out" in str(error) else CLOSED


def idle(scene: Scene) -> str:
    """It goes wrong, for ever or for a moment, while nothing is under way."""
    word = scene.word()
    with scene.client() as client:
        assert outcome(asked(client, frames.query(f"SELECT '{word}'")), word, 1) == RIGHT
        scene.relay.begin(scene.fault)
        time.sleep(0.1)
        word = scene.word()
        return outcome(asked(client, frames.query(f"SELECT '{word}'")), word, 1)


def mid_query(scene: Scene) -> str:
    """It goes wrong while the server works."""
    word = scene.word()
    with scene.client() as client:
        client.ask(frames.query("SELECT 1"))
        scene.at(word)
        return outcome(asked(client, frames.query(f"SELECT '{word}', pg_sleep(0.2)")), word, 1)


def mid_pipeline(scene: Scene) -> str:
    """It goes wrong while several prepared executions are under way."""
    words = [scene.word() for _ in range(3)]
    with scene.client() as client:
        client.ask(frames.parse("SELECT $1::text", "kept") + frames.sync())
        scene.at(words[-1], 20)
        requests = [frames.bind(word.encode(), statement="kept") + frames.execute() for word in words]
        got = asked(client, b"".join(requests) + frames.sync())
        found = [frame.body for frame in got if frame.tag == b"D"]
        assert all(word.encode() in body for word, body in zip(words, found, strict=False)), "shifted replies"
        errors = [error_fields(frame.body)["C"] for frame in got if frame.tag == b"E"]
        assert len(errors) < 2
        assert errors or got[-1].tag == b"!" or len(found) == len(words)
        return errors[0] if errors else CLOSED if got[-1].tag == b"!" else RIGHT


def mid_reply(scene: Scene) -> str:
    """It goes wrong in the middle of many rows."""
    word = scene.word()
    with scene.client() as client:
        client.ask(frames.query("SELECT 1"))
        scene.at(word, FAR_IN)
        sql = f"SELECT '{word}' || repeat('x', 30) FROM generate_series(1, {ROWS})"
        return outcome(asked(client, frames.query(sql)), word, ROWS)


def mid_transaction(scene: Scene) -> str:
    """It goes wrong in a transaction that has written: either all of it is there, or nothing."""
    word = scene.word()
    with scene.client() as client:
        assert outcome(asked(client, frames.query(f"BEGIN; INSERT INTO marks VALUES ('{word}')"))) == RIGHT
        scene.at("marks WHERE")
        found = outcome(asked(client, frames.query(f"SELECT word FROM marks WHERE word = '{word}'")), word, 1)
        if found == RIGHT:
            found = outcome(asked(client, frames.query("COMMIT")))
    assert found == RIGHT or scene.there(word) == 0
    assert found != RIGHT or scene.there(word) == 1
    return found


def at_commit(scene: Scene) -> str:
    """It goes wrong when COMMIT is on its way: what is confirmed is there."""
    word = scene.word()
    with scene.client() as client:
        assert outcome(asked(client, frames.query(f"BEGIN; INSERT INTO marks VALUES ('{word}')"))) == RIGHT
        scene.at("COMMIT")
        found = outcome(asked(client, frames.query("COMMIT")))
    assert scene.there(word) <= 1
    assert found != RIGHT or scene.there(word) == 1
    return found


def copy_in(scene: Scene) -> str:
    """It goes wrong while the client sends rows: all of them are there, or none."""
    word = scene.word()
    with scene.client() as client:
        client.send(frames.query("COPY marks FROM STDIN"))
        assert client.frame().tag == b"G"
        scene.at(f"last {word}")
        rows = [f"{word}\n".encode()] * 50 + [f"last {word}\n".encode()]
        try:
            client.send(b"".join(frames.copy_data(row) for row in rows))
            time.sleep(0.05)
            client.send(frames.copy_done())
        except ConnectionError:
            pass
        found = outcome(reply(client))
    there = scene.there(word)
    assert there in (0, 50)
    assert found != RIGHT or there == 50
    return found


def copy_out(scene: Scene) -> str:
    """It goes wrong while the server sends rows."""
    word = scene.word()
    with scene.client() as client:
        client.ask(frames.query("SELECT 1"))
        scene.at(word, FAR_IN)
        sql = f"COPY (SELECT '{word}' || repeat('x', 30) FROM generate_series(1, {ROWS})) TO STDOUT"
        return outcome(asked(client, frames.query(sql)), word, ROWS)


def own_question(scene: Scene) -> str:
    """It goes wrong while PgBeam asks the server what a DO has left: the client has its reply, and asks the next."""
    word = scene.word()
    with scene.client() as client:
        client.ask(frames.query("SELECT 1"))
        scene.at(OWN_WORDS)
        first = outcome(asked(client, frames.query("DO $$BEGIN END$$")))
        if first != RIGHT:
            return first
        return outcome(asked(client, frames.query(f"SELECT '{word}'")), word, 1)


MOMENTS: dict[str, Callable[[Scene], str]] = {
    each.__name__: each
    for each in (
        *(dial, handshake, login, identifying, idle, mid_query, mid_pipeline, mid_reply),
        *(mid_transaction, at_commit, copy_in, copy_out, own_question),
    )
}
OF_SERVERS = {"identifying", "own_question"}
"""Moments that only the connection to the server has."""


def names(leg: str) -> list[str]:
    """The moments that there are on a leg."""
    return [name for name in MOMENTS if leg == "server" or name not in OF_SERVERS]
