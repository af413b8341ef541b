"""HTTP as it comes from the network: bounded, and with the headers that keep browsers safe."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from pgbeam_core.web.replies import HttpReply, HttpRequest
from pgbeam_core.web.server import HEADERS, MOST_BODY, MOST_CONNECTIONS, Connections, HttpSite

from .sites import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    """A request as a client writes it."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_health_is_for_machines(stage: Stage) -> None:
    """200 while it lives; 503 with a word while clients are not welcome, and 200 again afterwards."""
    assert stage.send(get("/healthz")).startswith(b"HTTP/1.1 200 ")
    assert stage.send(get("/readyz")).startswith(b"HTTP/1.1 200 ")
    stage.beam.reason = "draining"
    reply = stage.send(get("/readyz"))
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert reply.endswith(b"draining\n")
    assert stage.send(get("/healthz")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/v1/stats", "/nothing", "/app.js"])
def test_every_reply_has_the_safe_headers(stage: Stage, path: str) -> None:
    """No page may be framed, run foreign or inline code, or be kept by a cache on the way."""
    reply = stage.send(get(path)).decode("latin-1")
    for name, value in HEADERS.items():
        assert f"{name}: {value}" in reply


def test_head_is_get_without_a_body(stage: Stage) -> None:
    """Monitors that only want the status get it, with the length that a GET would have."""
    reply = stage.send(get("/healthz", method="HEAD"))
    assert b"Content-Length: 3" in reply
    assert reply.endswith(b"\r\n\r\n")


def test_a_wrong_method_is_told_the_right_one(stage: Stage) -> None:
    """405 names what is allowed."""
    reply = stage.send(get("/metrics", "Content-Length: 0", method="POST"))
    assert reply.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET" in reply


def test_a_body_is_bounded(stage: Stage) -> None:
    """A long body is answered with 413, and none of it is kept beyond the bound."""
    body = b"x" * (MOST_BODY + 1)
    head = get("/v1/projects/shop/cache-rules/0123456789abcdef", f"Content-Length: {len(body)}", method="PUT")
    assert stage.send(head + body).startswith(b"HTTP/1.1 413 ")


def test_an_endless_body_is_cut_off(stage: Stage) -> None:
    """Who goes on and on is hung up on, chunked or not."""
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    head = get("/v1/stats", "Transfer-Encoding: chunked", method="PUT")
    assert b" 200 " not in stage.send(head + chunk * 80)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET " + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        get("/v1/shapes?" + "&".join(f"a{number}=1" for number in range(80))),
        get("/%ff%fe?x=%ff"),
        get("/metrics", "Content-Length: -1"),
    ],
    ids=["tls", "version", "long", "parameters", "bytes", "length"],
)
def test_nonsense_is_refused(stage: Stage, data: bytes) -> None:
    """What is no request, or too much of one, is refused or hung up on, and nothing is logged as a failure."""
    written = stage.send(data)
    assert not written or written.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))


def test_there_are_only_so_many_connections(stage: Stage) -> None:
    """One more than there may be is closed at once: descriptors are for clients of the database."""
    connections = Connections(HttpSite(stage.web.routes, stage.beam.reactor))
    connections.protocols = dict.fromkeys(range(MOST_CONNECTIONS))
    assert connections.buildProtocol(None) is None
    connections.protocols.popitem()
    assert connections.buildProtocol(None) is not None


def test_who_has_left_is_not_written_to(stage: Stage) -> None:
    """An answer that comes too late is dropped, and what was asked for it is cancelled."""
    cancelled: list[object] = []
    late: Deferred[HttpReply] = Deferred(cancelled.append)
    stage.web.routes.add("GET", "/late", lambda request: late)
    asked = stage.web.routes.answer(HttpRequest("GET", "/late"))
    asked.cancel()
    assert cancelled == [late]


def test_a_failure_is_told_without_details(stage: Stage) -> None:
    """What goes wrong inside is for the log, not for who asks."""

    def broken(request: HttpRequest) -> HttpReply:
        raise RuntimeError("secret")

    stage.web.routes.add("GET", "/broken", broken)
    reply = stage.ask("GET", "/broken")
    assert reply.status == 500
    assert b"secret" not in reply.body
