"""OpenTelemetry's own machinery: spans go into a bounded queue, and out of it on a thread that no query waits for."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from pgbeam_core import PgBeamError
from pgbeam_otel.parents import Parent
from pgbeam_otel.settings import OtelSettings

log = Logger(__name__)

SEND_EVERY_MS = 5_000
"""OpenTelemetry's own default: what a request costs does not depend on what is in it."""
MOST_AT_ONCE = 512
"""Spans of one request to the receiver."""
LAST_SPANS_S = 3.0
"""How long the end of PgBeam waits for what is still to be sent."""
COMPLAIN_EVERY_S = 60.0


def otlp_exporter(settings: OtelSettings) -> Any:
    """Sends to a receiver by OTLP over HTTP; headers and certificates come from OTEL_EXPORTER_OTLP_…."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=settings.endpoint, timeout=settings.timeout_s)  # type: ignore[no-untyped-call,unused-ignore]


class Exporting:
    """From its making to `stop`. Raises PgBeamError where the libraries are missing."""

    def __init__(self, settings: OtelSettings, threads: Threads, make_exporter: Callable[[OtelSettings], Any]) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import ReadableSpan
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope

            exporter = make_exporter(settings)
        except ImportError as error:
            hint = "Install pgbeam[otel], or take otel out of plugins.order."
            raise PgBeamError(f"the plugin otel needs OpenTelemetry: {error}", hint=hint) from error
        self._trace: Any = trace
        self._span: Any = ReadableSpan
        self._threads = threads
        self._complaints = _Complaints(threads)
        self._resource = Resource.create(
            {"service.name": settings.service_name, "service.instance.id": str(os.getpid())}
        )
        self._scope = InstrumentationScope("pgbeam", "")
        self._ids: Any = RandomIdGenerator()
        self._sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        self._processor: Any = BatchSpanProcessor(
            exporter,
            max_queue_size=settings.max_queued,
            max_export_batch_size=min(MOST_AT_ONCE, settings.max_queued),
            schedule_delay_millis=SEND_EVERY_MS,
            export_timeout_millis=settings.timeout_s * 1000,
        )

    def add(self, name: str, parent: Parent | None, told: dict[str, Any], seconds: float, *, failed: bool) -> None:
        """A span that ends now.

        It is made as it is: a tracer's way, for spans that grow for as long as they last, takes ten times as long.
        """
        trace, end = self._trace, time.time_ns()
        above, trace_id = None, 0
        if parent is not None:
            flags = self._sampled if parent.sampled else trace.TraceFlags(trace.TraceFlags.DEFAULT)
            above = trace.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
            trace_id = parent.trace_id
        context = trace.SpanContext(
            trace_id or self._ids.generate_trace_id(),
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=self._sampled,
        )
        span = self._span(
            name,
            context,
            above,
            self._resource,
            told,
            kind=trace.SpanKind.SERVER,
            status=trace.Status(trace.StatusCode.ERROR if failed else trace.StatusCode.UNSET),
            start_time=end - int(seconds * 1e9),
            end_time=end,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)

    def stop(self) -> Deferred[None]:
        """Send what is left, if that goes quickly; fires when it is done, or time is up."""
        return self._threads.finish(self._processor.shutdown).addBoth(lambda _: self._complaints.stop())


class Threads:
    """How work goes from the loop to another thread, and words come back."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def tell(self, function: Callable[..., Any], **arguments: Any) -> None:
        """Have the loop call it."""
        self._reactor.callFromThread(function, **arguments)

    def finish(self, work: Callable[[], Any]) -> Deferred[None]:
        """Do it beside the loop; fires when it is done, or after LAST_SPANS_S."""
        done: Deferred[None] = Deferred()

        def over() -> None:
            if not done.called:
                done.callback(None)

        def run() -> None:
            try:
                work()
            finally:
                self._reactor.callFromThread(over)

        # A thread of its own, and not the reactor's: nobody waits for it at the end of the process.
        Thread(target=run, daemon=True, name="otel").start()
        timer = self._reactor.callLater(LAST_SPANS_S, over)
        return done.addBoth(lambda _: timer.cancel() if timer.active() else None)


class _Complaints(logging.Handler):
    """What OpenTelemetry says to Python's logging goes to PgBeam's log: once a minute, in one line."""

    def __init__(self, threads: Threads) -> None:
        super().__init__(logging.WARNING)
        self._threads = threads
        self._last: float | None = None
        self._logger = logging.getLogger("opentelemetry")
        self._logger.addHandler(self)
        self._propagated, self._logger.propagate = self._logger.propagate, False

    def stop(self) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = self._propagated

    def emit(self, record: logging.LogRecord) -> None:
        """Called on whichever thread has something to complain of, the loop's own included."""
        now = time.monotonic()
        if self._last is None or now - self._last >= COMPLAIN_EVERY_S:
            self._last = now
            text = " ".join(record.getMessage().split())[:300]
            self._threads.tell(_warn, reason=text)


def _warn(reason: str) -> None:
    log.warn("traces are not sent: {reason}", reason=reason)
