"""Metrics as Prometheus reads them: its text format, or OpenMetrics for those that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as PrometheusFamily
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from pgbeam_core.telemetry.metrics import Family
from pgbeam_core.telemetry.stats import BOUNDS
from pgbeam_core.web.replies import HttpReply, HttpRequest

EVERY = 3
"""Of the buckets of a histogram one in so many is shown: 0.1 ms to 33 s in 20 steps, each nearly twice the last."""
SAMPLES_AT_ONCE = 200
"""Written before others have their turn; it takes one or two milliseconds."""
_SHOWN = tuple(range(0, len(BOUNDS), EVERY))
_END = b"# EOF\n"


class _Families:
    """A registry that holds one family."""

    def __init__(self, families: Sequence[PrometheusFamily]) -> None:
        self._families = families

    def collect(self) -> Iterable[PrometheusFamily]:
        return self._families


@inlineCallbacks
def exposition(families: Iterable[Family], request: HttpRequest, reactor: Any) -> Any:
    """A Deferred of the reply; written in parts, between which others have their turn."""
    encoder, content_type = choose_encoder(request.headers.get("accept", ""))
    body = bytearray()
    written, ended = 0, False
    for each in pieces(families):
        part = _encoded(encoder, each)
        ended = ended or part.endswith(_END)
        body += part.removesuffix(_END)
        written += len(each["samples"])
        if written >= SAMPLES_AT_ONCE:
            written = 0
            yield deferLater(reactor, 0)
    return HttpReply(200, bytes(body) + (_END if ended else b""), content_type)


def pieces(families: Iterable[Family]) -> Iterator[Family]:
    """In order of names. A family is never cut: its samples have to stand together."""
    yield from sorted(families, key=lambda each: each["name"])


def _encoded(encoder: Callable[[Any], bytes], family: Family) -> bytes:
    return encoder(_Families([_family(family)]))


def _family(given: Family) -> PrometheusFamily:
    names = sorted({label for labels, _ in given["samples"] for label in labels})
    name, text = given["name"], given["help"]
    if given["kind"] == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=names)
        for labels, value in given["samples"]:
            histogram.add_metric([labels.get(label, "") for label in names], _buckets(value["counts"]), value["total"])
        return histogram
    kind = CounterMetricFamily if given["kind"] == "counter" else GaugeMetricFamily
    family = kind(name, text, labels=names)
    for labels, value in given["samples"]:
        family.add_metric([labels.get(label, "") for label in names], value)
    return family


def _buckets(counts: Sequence[int]) -> list[tuple[str, float]]:
    sums = list(accumulate(counts))
    return [*((f"{BOUNDS[place]:.6g}", float(sums[place])) for place in _SHOWN), ("+Inf", float(sums[-1]))]
