"""Large messages of clients and of servers reach the other side byte by byte as they were, whatever their kind."""

from __future__ import annotations

import pytest

from pgbeam_core.wire import copy_messages, frontend, names
from pgbeam_core.wire.frames import frame
from pgbeam_core.wire.large import HEAD_BYTES, LARGE_BYTES, Gathering, Head, is_text
from tests.session.reply_queues import queue
from tests.session.stage import (
    FLUSH,
    ONE,
    READY,
    SYNC,
    TWO,
    Stage,
    copy_data,
    done,
    error,
    execute,
    messages,
    parse,
    query,
    tags,
)

SIZE = 3_000_000
CHUNKS = [100_000, 262_144, 1_500_000]
VALUE = b"v" * SIZE


def send(stage: Stage, data: bytes, chunk: int) -> bytes:
    """A client sends it in chunks; what it gets at once."""
    return b"".join(stage.send(data[start : start + chunk]) for start in range(0, len(data), chunk))


def bind_value(name: bytes = b"") -> bytes:
    """A Bind with a large value."""
    return frontend.Bind(b"", name, (VALUE,), (0,)).to_bytes()


def close(stage: Stage, name: bytes) -> None:
    """The client has no use for a statement any more."""
    if name:
        stage.turn(frontend.Close(frontend.STATEMENT, name).to_bytes() + SYNC, READY)
        stage.sent()


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_large_query_reaches_the_server_as_it_is(chunk: int) -> None:
    """A text of megabytes is passed on whole, and the client goes on behind it."""
    stage, request = Stage(), query("SELECT '" + "x" * SIZE + "'")
    assert send(stage, request + query("SELECT 1"), chunk) == b""
    assert stage.sent() == request
    stage.say(done() + READY)
    assert tags(stage.client.take()) == "CZ"
    stage.inspect()
    assert stage.sent().endswith(query("SELECT 1"))


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_zero_byte_in_a_large_query_is_for_the_server_to_judge(chunk: int) -> None:
    """Whatever stands in the middle of a large text, the server gets all of it."""
    stage, request = Stage(), frame(ord("Q"), b"SELECT '" + b"x" * SIZE + b"'\0 garbage\0")
    send(stage, request, chunk)
    assert stage.sent() == request


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("name", [b"", b"mine"])
def test_a_large_value_follows_its_statement_under_any_name(name: bytes, chunk: int) -> None:
    """Bound under PgBeam's own name, a value of megabytes is the same, and what stands around it too."""
    stage = Stage()
    request = parse("SELECT length($1)", name) + bind_value(name) + execute() + SYNC
    for _ in range(2):
        at_once = send(stage, request, chunk)
        sent = messages(stage.sent())
        stage.say(ONE * sum(one[:1] == b"P" for one in sent) + TWO + done() + READY)
        assert tags(at_once + stage.client.take()) == "12CZ"
        server_name = names.bind_names(next(one for one in sent if one[:1] == b"B"))[1]
        assert sent[-3:] == [names.rename_bind(bind_value(name), server_name), execute(), SYNC]
        close(stage, name)
    assert server_name != name


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("name", [b"", b"mine"])
def test_a_large_text_is_prepared_as_it_is(name: bytes, chunk: int) -> None:
    """Parse with a text of megabytes arrives whole, with its types; another one of the same beginning is another."""
    stage = Stage()
    for end in (b"'a'", b"'b'"):
        text = b"SELECT '" + b"x" * SIZE + b"', " + end
        large = frontend.Parse(name, text, (23, 25)).to_bytes()
        send(stage, large + frontend.Bind(b"", name).to_bytes() + execute() + SYNC, chunk)
        sent = messages(stage.sent())
        assert "".join(chr(one[0]) for one in sent)[-4:] == "PBES"
        server_name = names.parse_names(sent[-4])[0]
        assert sent[-4] == frontend.Parse(server_name, text, (23, 25)).to_bytes()
        assert names.bind_names(sent[-3])[1] == server_name
        stage.say(ONE + TWO + done() + READY)
        assert tags(stage.client.take()) == "12CZ"
        stage.inspect()
        close(stage, name)


def test_a_large_text_is_prepared_on_another_server_too() -> None:
    """A client's statement of megabytes is there on whichever server it gets."""
    stage = Stage(servers=2)
    text = b"SELECT '" + b"x" * SIZE + b"'"
    send(stage, frontend.Parse(b"mine", text).to_bytes() + SYNC, 200_000)
    stage.say(ONE + READY)
    stage.inspect()
    other = stage.servers[1]
    stage.pools.idle = [other]
    stage.client.take()
    stage.send(frontend.Bind(b"", b"mine").to_bytes() + execute() + SYNC)
    sent = messages(stage.sent(other))
    assert tags(b"".join(sent)) == "PBES"
    assert sent[0] == frontend.Parse(names.parse_names(sent[0])[0], text).to_bytes()


@pytest.mark.parametrize("tail", [b"", b"\0\0" + bytes(SIZE), b"\0\0\0" + bytes(262_141)])
def test_a_large_parse_that_is_none_is_for_the_server_to_judge(tail: bytes) -> None:
    """A text without end, or with more behind it than there are types, goes on as it came."""
    stage = Stage()
    broken = b"P" + (4 + 1 + SIZE + len(tail)).to_bytes(4) + b"\0" + b"x" * SIZE + tail
    send(stage, broken + SYNC, 200_000)
    assert stage.sent().endswith(broken + SYNC)
    stage.say(error("08P01") + READY)
    assert tags(stage.client.take()) == "EZ"


def test_a_large_piece_of_copy_reaches_the_server_as_it_is() -> None:
    """COPY data of megabytes in one message, and small ones around it."""
    stage = Stage()
    stage.send(query("COPY t FROM STDIN"))
    stage.sent()
    stage.say(b"G" + (7).to_bytes(4) + bytes(3))
    rows = copy_data(b"a\n") + copy_data(VALUE) + copy_data(b"b\n") + copy_messages.CopyDone().to_bytes()
    send(stage, rows, 200_000)
    assert stage.sent() == rows


def test_a_large_message_waits_behind_what_is_under_way() -> None:
    """It is held, whole, until its turn comes."""
    stage, large = Stage(), query("SELECT '" + "x" * SIZE + "'")
    stage.send(query("SELECT 1"))
    stage.sent()
    send(stage, large, 200_000)
    assert stage.sent() == b""
    stage.say(done() + READY)
    stage.inspect()
    assert stage.sent().startswith(large)


def test_a_flush_and_a_query_behind_a_large_value_change_nothing() -> None:
    """What ends the part of a request that is held back is taken again behind it."""
    stage = Stage()
    send(stage, parse("SELECT length($1)") + bind_value() + FLUSH + query("SELECT 1"), 200_000)
    assert stage.sent().count(VALUE) == 1


@pytest.mark.parametrize("chunk", [1, 7, 4_000, 100_000, 5_000_000])
def test_a_large_message_costs_its_size_whatever_its_chunks(chunk: int) -> None:
    """Chunks of a few bytes are joined: nobody makes PgBeam remember a million of them."""
    size = LARGE_BYTES + 1000
    data = bytes(range(256)) * (size // 256 + 2)
    gathering, start = Gathering(size), 0
    while gathering.missing:
        behind = gathering.add(data[start : start + chunk])
        start += chunk
    assert data[start - chunk : start].endswith(behind)
    message = gathering.message()
    assert message.joined == data[:size]
    assert message.size == size
    assert len(message) >= min(HEAD_BYTES, size)
    assert len(message.rest) < 20


def test_text_ends_in_its_only_zero_byte() -> None:
    """Also where it comes in pieces."""

    def cut(*pieces: bytes) -> Head:
        head = Head(pieces[0])
        head.rest, head.size = list(pieces[1:]), sum(map(len, pieces))
        return head

    assert is_text(cut(b"Q\0\0\0\0abc", b"def", b"g\0"))
    assert is_text(cut(b"Q\0\0\0\0abc\0"))
    assert not is_text(cut(b"Q\0\0\0\0abc", b"de\0", b"g\0"))
    assert not is_text(cut(b"Q\0\0\0\0a\0c", b"def", b"g\0"))
    assert not is_text(cut(b"Q\0\0\0\0abc", b"def"))


@pytest.mark.parametrize("tag", [b"N", b"V", b"E", b"T"])
@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_large_word_of_a_server_reaches_its_client_as_it_is(tag: bytes, chunk: int) -> None:
    """A notice, a function's result, an error and a description of megabytes, and what comes behind them."""
    large = tag + (4 + SIZE).to_bytes(4) + b"SERROR\0C22000\0M" + VALUE[15:]
    reply = large + {b"N": done(), b"T": done(), b"V": b"", b"E": b""}[tag] + READY
    replies, (owner, other) = queue(None, None)
    stream = reply + done() + READY
    for start in range(0, len(stream), chunk):
        replies.feed(stream[start : start + chunk])
    while replies.behind:
        replies.go_on()
    assert not replies.turns
    assert owner.got + owner.over[0] == reply
    assert other.got + other.over[0] == done() + READY
