"""Traces: which queries become spans, below which parent, what is in them and what never is, and where they go."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from twisted.internet.defer import Deferred, succeed

from pgbeam_core.errors import PgBeamError
from pgbeam_core.testing import FakePostgres, done, error, table
from pgbeam_otel import Traces
from pgbeam_otel.exporting import Exporting, Threads, otlp_exporter
from pgbeam_otel.parents import Parent, parent_of
from pgbeam_otel.settings import OtelSettings

pytest_plugins = ["pgbeam_core.testing.fixtures"]

TRACE, SPAN = "5bd66ef5095369c7b0d1f8f4bd33716a", "c532cb4098ac3dd2"
SAMPLED = f"/*traceparent='00-{TRACE}-{SPAN}-01'*/"
NOT_SAMPLED = f"/*traceparent='00-{TRACE}-{SPAN}-00'*/"
READ = "SELECT n FROM t WHERE name = 'rosebud'"
WRONG = "SELECT 1 FROM t WHERE id = 'rosebud'"


class NoThreads(Threads):
    """Does at once what would be done beside the loop: there is none in these tests."""

    def __init__(self, _reactor: Any = None) -> None:
        super().__init__(None)
        self.said: list[str] = []

    def tell(self, function: Any, **arguments: Any) -> None:
        self.said.append(arguments["reason"])

    def finish(self, work: Any) -> Deferred[None]:
        return succeed(work())


@pytest.fixture
def traced(rehearse) -> Any:
    """traced(sample_rate=1) gives a PgBeam with traces; `traced.spans` has those that were made."""
    exporter = InMemorySpanExporter()
    plugins: list[Traces] = []

    def traced(**settings: Any):
        answer = table(["n"], [("1",)])
        refused = error("22P02", 'invalid input syntax for type integer: "rosebud"')
        answers = {READ: answer, f"{READ} {SAMPLED}": answer, f"{READ} {NOT_SAMPLED}": answer, WRONG: refused}
        answers |= {"SELECT n FROM t WHERE name = $1": answer, "INSERT INTO t VALUES (2)": done("INSERT 0 1")}
        plugins.append(Traces(lambda _: exporter, NoThreads))
        return rehearse(
            {"otel": plugins[-1]}, settings={"otel": settings}, servers={"primary:5432": FakePostgres(answers)}
        )

    def spans() -> tuple[Any, ...]:
        exporting = plugins[-1]._exporting
        assert exporting is not None
        exporting._processor.force_flush(10_000)
        return exporter.get_finished_spans()

    traced.spans = spans
    return traced


@pytest.mark.parametrize(
    ("sql", "parent"),
    [
        (f"SELECT 1 {SAMPLED}", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"SELECT 1 {SAMPLED} ; ", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"{SAMPLED} SELECT 1", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"SELECT 1 {NOT_SAMPLED}", Parent(int(TRACE, 16), int(SPAN, 16), False)),
        (f"SELECT 1 /*action='%2Fparam*d',traceparent='00-{TRACE}-{SPAN}-03',tracestate='a%3Db'*/",
         Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"SELECT '{'x' * 5000}' {SAMPLED}", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        ("SELECT 1", None),
        ("SELECT traceparent FROM spans", None),
        (f"SELECT '{SAMPLED.replace(chr(39), chr(39) * 2)}'", None),
        (f"SELECT $$ {SAMPLED} $$", None),
        (f"SELECT 1 -- traceparent='00-{TRACE}-{SPAN}-01'", None),
        (f"SELECT 1 /*traceparent='00-{'0' * 32}-{SPAN}-01'*/", None),
        (f"SELECT 1 /*traceparent='00-{TRACE}-{'0' * 16}-01'*/", None),
        (f"SELECT 1 /*traceparent='ff-{TRACE}-{SPAN}-01'*/", None),
        (f"SELECT 1 /*traceparent='00-{TRACE}-{SPAN}*/", None),
    ],
)  # fmt: skip
def test_the_parent_is_what_the_comment_says(sql: str, parent: Parent | None) -> None:
    """sqlcommenter's comment, at either end, with whatever else stands in it; nothing that only looks like one."""
    assert parent_of(sql) == parent


def test_a_span_is_below_the_applications_own(traced) -> None:
    """Same trace, the application's span as its parent, and what became of the query."""
    rehearsal = traced(sample_rate=0)
    rehearsal.login().query(f"{READ} {SAMPLED}")
    (span,) = traced.spans()
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == SPAN
    assert span.name == "SELECT shop"
    told = span.attributes
    assert told["db.query.text"] == "SELECT n FROM t WHERE name = $1"
    assert (told["db.namespace"], told["db.operation.name"]) == ("shop", "SELECT")
    assert (told["pgbeam.answered_by"], told["pgbeam.project"], told["pgbeam.user"]) == ("server", "shop", "app")
    assert (told["db.response.returned_rows"], told["server.port"]) == (1, 5432)
    assert span.end_time >= span.start_time
    assert span.resource.attributes["service.name"] == "pgbeam"


def test_what_the_parent_decides_holds(traced) -> None:
    """A trace that is not sampled stays so, however high the rate; `follow_parent = false` decides by chance alone."""
    rehearsal = traced(sample_rate=1)
    rehearsal.login().query(f"{READ} {NOT_SAMPLED}")
    assert traced.spans() == ()
    rehearsal.reload(settings={"otel": {"sample_rate": 1.0, "follow_parent": False}})
    rehearsal.login().query(f"{READ} {NOT_SAMPLED}")
    (span,) = traced.spans()
    assert span.parent is None


def test_without_a_parent_chance_decides(traced) -> None:
    """All at 1, none at 0."""
    rehearsal = traced(sample_rate=1)
    rehearsal.login().query(READ)
    assert len(traced.spans()) == 1
    rehearsal.reload(settings={"otel": {"sample_rate": 0}})
    rehearsal.login().query(READ)
    assert len(traced.spans()) == 1


def test_no_data_is_in_a_span(traced) -> None:
    """No constant, no parameter, no message of an error; the SQLSTATE is told."""
    rehearsal = traced(sample_rate=1)
    client = rehearsal.login()
    client.query(READ)
    client.execute("SELECT n FROM t WHERE name = $1", ["rosebud"])
    client.query(WRONG)
    spans = traced.spans()
    assert "rosebud" not in "".join(span.to_json() for span in spans)
    assert spans[-1].attributes["db.response.status_code"] == "22P02"
    assert spans[-1].attributes["error.type"] == "22P02"
    assert not spans[-1].status.is_ok
    assert spans[0].status.is_ok


def test_a_flood_is_cut_and_counted(traced) -> None:
    """No more than so many spans a second; the rest is in the stats."""
    rehearsal = traced(sample_rate=1, max_per_second=5)
    client = rehearsal.login()
    for _ in range(20):
        client.query(READ)
    assert len(traced.spans()) == 5
    assert rehearsal.stats()["otel"]["otel"] == {"spans": 5, "left_out": 15}


def test_what_is_missing_is_said(monkeypatch) -> None:
    """Without OpenTelemetry the start fails with the name of what to install."""

    def missing(_: OtelSettings) -> Any:
        raise ImportError("No module named 'opentelemetry'")

    with pytest.raises(PgBeamError, match="needs OpenTelemetry") as raised:
        Exporting(OtelSettings(), NoThreads(), missing)
    assert "pgbeam[otel]" in str(raised.value.hint)


class Stuck(SpanExporter):
    """A receiver that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.free.wait(20)
        return SpanExportResult.SUCCESS


def test_a_receiver_that_hangs_holds_nobody_up(rehearse) -> None:
    """Queries go on, and what waits to be sent stays bounded."""
    stuck = Stuck()
    plugin = Traces(lambda _: stuck, NoThreads)
    settings = {"sample_rate": 1.0, "max_queued": 10, "max_per_second": 1000}
    rehearsal = rehearse({"otel": plugin}, settings={"otel": settings},
                         servers={"primary:5432": FakePostgres({READ: table(["n"], [("1",)])})})  # fmt: skip
    client = rehearsal.login()
    for _ in range(200):
        client.query(READ)
    assert rehearsal.stats()["otel"]["otel"]["spans"] == 200
    stuck.free.set()


@pytest.fixture
def receiver() -> Iterator[Any]:
    """An OTLP/HTTP receiver: `receiver.requests` has what came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            server.requests.append((self.path, request))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_a_real_receiver_gets_them(receiver, monkeypatch) -> None:
    """By OTLP over HTTP, with the parent and the resource."""
    monkeypatch.setenv("NO_PROXY", "*")
    endpoint = f"http://127.0.0.1:{receiver.server_address[1]}/v1/traces"
    exporting = Exporting(OtelSettings(endpoint=endpoint, service_name="edge"), NoThreads(), otlp_exporter)
    exporting.add("SELECT shop", parent_of(f"SELECT 1 {SAMPLED}"), {"pgbeam.cache": "hit"}, 0.25, failed=False)
    exporting.stop()
    ((path, request),) = receiver.requests
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    said = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert said["service.name"] == "edge"
    (span,) = resource.scope_spans[0].spans
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.name) == (TRACE, SPAN, "SELECT shop")
    assert span.end_time_unix_nano - span.start_time_unix_nano == 250_000_000
    assert json.loads(json.dumps({each.key: each.value.string_value for each in span.attributes})) == {
        "pgbeam.cache": "hit"
    }
