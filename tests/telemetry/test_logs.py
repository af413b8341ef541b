"""Log lines for people and for machines."""

from __future__ import annotations

import io
import json

import pytest
from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python.failure import Failure

from pgbeam_core.telemetry.logs import Log, Sent, received


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def written(
    stream: io.StringIO, *, level: str = "info", form: str = "auto", namespace: str = "pgbeam_core.net"
) -> Logger:
    return Logger(namespace=namespace, observer=LogPublisher(Log(stream, level, form)))


def test_a_terminal_gets_lines_for_people():
    """Time, level, where from and the text, on one line."""
    out = Terminal()
    written(out).info("client {number} left", number=3)
    assert out.getvalue()[8:] == " info  net: client 3 left\n"


def test_a_file_gets_one_json_object_a_line():
    """Fields keep their types, so that nobody has to take texts apart."""
    out = io.StringIO()
    written(out).warn("client {number} left", number=3, reason="timeout")
    line = json.loads(out.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warn", "logger": "pgbeam_core.net", "event": "client 3 left", "number": 3, "reason": "timeout"
    }  # fmt: skip


@pytest.mark.parametrize(("form", "stream"), [("json", Terminal()), ("human", io.StringIO())])
def test_the_form_can_be_chosen(form, stream):
    """log_format overrides what the stream looks like."""
    written(stream, form=form).info("x")
    assert stream.getvalue().startswith("{") == (form == "json")


@pytest.mark.parametrize("form", ["json", "human"])
def test_bytes_are_never_written(form):
    """Bytes may be somebody's password or rows; only their number is logged."""
    out = io.StringIO()
    log = written(out, form=form)
    log.error("frame {frame} {deep}", frame=b"s3cret", deep={"a": [bytearray(b"s3cret"), memoryview(b"s3cret")]})
    assert "s3cret" not in out.getvalue()
    assert "<6 bytes>" in out.getvalue()


@pytest.mark.parametrize("form", ["json", "human"])
def test_a_failure_brings_its_traceback(form):
    """What went wrong can be found from the log."""
    out = io.StringIO()
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        written(out, form=form).failure("oh", failure=Failure())
    assert "RuntimeError: broken" in out.getvalue()


def test_levels():
    """Less important events are left out, and Twisted's own chatter is."""
    out = io.StringIO()
    for level in ("debug", "info", "warn", "error"):
        for namespace in ("pgbeam_pool", "twisted.internet.tcp"):
            for event in (LogLevel.debug, LogLevel.info, LogLevel.warn, LogLevel.error, LogLevel.critical):
                written(out, level=level, namespace=namespace).emit(event, f"{level}/{namespace[:2]}/{event.name}")
    seen = [json.loads(line)["event"] for line in out.getvalue().splitlines()]
    assert [event for event in seen if "/pg/" in event and event.startswith("warn")] == [
        "warn/pg/warn", "warn/pg/error", "warn/pg/critical"
    ]  # fmt: skip
    assert "debug/pg/debug" in seen
    assert not [event for event in seen if "/tw/" in event and event.endswith(("/debug", "/info"))]


def test_a_stream_that_is_gone_is_no_error():
    """A closed terminal does not take PgBeam down."""
    out = io.StringIO()
    log = written(out)
    out.close()
    log.info("x")


@pytest.mark.parametrize("form", ["json", "human"])
def test_a_line_says_which_worker_it_is_from(form):
    """With several workers their lines can be told apart, for people and for machines."""
    out = io.StringIO()
    Logger(namespace="pgbeam_pool", observer=LogPublisher(Log(out, "info", form, worker=2))).info("well")
    if form == "json":
        assert json.loads(out.getvalue())["worker"] == 2
    else:
        assert out.getvalue()[8:] == " info  pool[2]: well\n"


def test_a_workers_events_can_be_written_elsewhere():
    """Level, source, text, traceback and time arrive, and the same care is taken of bytes."""
    sent: list[dict[str, object]] = []
    log = Logger(namespace="pgbeam_core.net", observer=LogPublisher(Sent("info", 2, sent.append)))
    log.debug("not asked for")
    log.warn("client {number} sent {frame}", number=3, frame=b"s3cret")
    log.failure("lost", Failure(ValueError("why")))
    assert json.loads(json.dumps(sent)) == sent
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        for event in sent:
            received(event, worker=2)
    finally:
        globalLogPublisher.removeObserver(events.append)
    out = io.StringIO()
    for event in events:
        Log(out, "info", "human")(event)
    first, *traceback = out.getvalue().splitlines()
    assert first[8:] == " warn  net[2]: client 3 sent <6 bytes>"
    assert "ValueError: why" in traceback[-1]
    assert events[0]["log_time"] == sent[0]["time"]
