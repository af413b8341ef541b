"""The settings under `[plugins.otel]`: which queries become spans, and who receives them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OtelSettings:
    """Which queries become spans, how many, and where they go."""

    endpoint: str | None = field(
        default=None,
        metadata={
            "help": "URL of an OTLP/HTTP receiver, with /v1/traces; else OTEL_EXPORTER_OTLP_ENDPOINT, or this machine",
            "restart": True,
        },
    )
    service_name: str = field(default="pgbeam", metadata={"help": "service.name of the spans", "restart": True})
    sample_rate: float = field(
        default=0.01, metadata={"help": "part of the queries without a parent that get a span", "min": 0, "max": 1}
    )
    follow_parent: bool = field(
        default=True,
        metadata={"help": "a query whose comment has a traceparent gets a span exactly if that says sampled"},
    )
    max_per_second: int = field(
        default=50,
        metadata={"help": "spans a second, in all workers together; the rest is counted", "min": 1, "total": True},
    )
    max_queued: int = field(
        default=4096,
        metadata={"help": "spans that wait to be sent; more are lost, and counted", "min": 1, "restart": True},
    )
    timeout_s: float = field(
        default=5.0, metadata={"help": "longest wait for the receiver", "min": 0.1, "unit": "s", "restart": True}
    )
