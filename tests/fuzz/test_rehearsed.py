"""Mutated conversations against a PgBeam in memory: hundreds a minute, each to be had again by its number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from pgbeam_core.testing.clients import Client
from tests.fuzz.material import conversations
from tests.fuzz.mutations import mutated, pieces
from tests.fuzz.stage import FIRST, Scene, cases

EACH_SCENE = 25
"""Cases that one PgBeam has to live through before it is looked at for what they left."""


@contextmanager
def told(number: int) -> Iterator[None]:
    """Whatever goes wrong says which case it was."""
    try:
        yield
    except Exception as problem:
        raise AssertionError(f"FUZZ_SEED={number}: {problem!r}") from problem


def scenes(liar: bool) -> Iterator[tuple[Scene, int]]:
    """A scene and the number of a case, again and again; each scene ends with a look at what is left."""
    scene: Scene | None = None
    number = FIRST
    for number in cases():
        if scene is None:
            scene = Scene(liar=Random(number) if liar else None)
        yield scene, number
        if (number - FIRST + 1) % EACH_SCENE == 0:
            leave(scene, number)
            scene = None
    if scene is not None:
        leave(scene, number)


def leave(scene: Scene, number: int) -> None:
    """All have left: nothing of them is left."""
    with told(number):
        scene.ask_honestly()
        scene.nothing_is_left()
        scene.ask_honestly()
        scene.close()


def feed(client: Client, data: bytes) -> None:
    """Send bytes, unless PgBeam has hung up; what comes back may be anything that is cut into messages."""
    if not client.closed:
        client.send(data)


def test_what_a_client_says_harms_nobody() -> None:
    """Clients that send mutated conversations get errors, or nothing; the honest one beside them notices nothing."""
    others = conversations()
    for scene, number in scenes(liar=False):
        with told(number):
            rng = Random(number)
            client = scene.client(rng.choice(("liar", "honest")))
            for piece in pieces(rng, mutated(rng, rng.choice(others), others)):
                feed(client, piece)
                if rng.random() < 0.3:
                    scene.ask_honestly()
            scene.ask_honestly()
            client.vanish() if rng.random() < 0.5 else feed(client, b"X\0\0\0\4")
            scene.ask_honestly()
            client.vanish()


def test_clients_that_lie_at_the_same_time_harm_nobody() -> None:
    """Several of them, in turns, piece by piece: what one has begun is not taken for another's."""
    others = conversations()
    for scene, number in scenes(liar=False):
        with told(number):
            rng = Random(number)
            clients = [scene.client(rng.choice(("liar", "honest"))) for _ in range(3)]
            said = [pieces(rng, mutated(rng, rng.choice(others), others)) for _ in clients]
            while any(said):
                place = rng.randrange(3)
                if said[place]:
                    feed(clients[place], said[place].pop(0))
                scene.ask_honestly()
            for client in clients:
                client.vanish()


def test_what_a_server_says_harms_no_client_of_another() -> None:
    """Servers whose replies are mutated are closed; clients of others get their own replies as ever."""
    others = conversations()
    for scene, number in scenes(liar=True):
        with told(number):
            rng = Random(number)
            assert scene.fake.liar is not None
            scene.fake.liar.seed(number)
            clients = [scene.client("liar") for _ in range(2)]
            for _ in range(3):
                for client in clients:
                    for message in rng.choice(others):
                        feed(client, message)
                scene.ask_honestly()
            for client in clients:
                client.vanish()
            scene.ask_honestly()


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_a_startup_packet_of_anything_harms_nobody(size: int) -> None:
    """Bytes that are no startup packet, or one that is mutated, end in an error or a closed connection."""
    scene = Scene()
    for number in range(FIRST, FIRST + 200):
        with told(number):
            rng = Random(number * 4 + size)
            client = scene.rehearsal.call()
            feed(client, startup_like(rng, size))
            scene.ask_honestly()
            client.vanish()
    leave(scene, FIRST)


def startup_like(rng: Random, size: int) -> bytes:
    """What might be one."""
    packet = bytearray(b"\0\0\0\x29\0\3\0\0user\0liar\0database\0shop\0options\0-c a.b=1\0\0")
    packet[3] = len(packet)
    if size == 0:
        return rng.randbytes(rng.randint(1, 40))
    for _ in range(size):
        packet[rng.randrange(len(packet))] = rng.randrange(256)
    return bytes(packet)
