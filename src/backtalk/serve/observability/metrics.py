"""What the gateway counts, as Prometheus reads it."""

from __future__ import annotations

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""The variable with the folder in which several worker processes add up what they count."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one gateway.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.request("chat", 200, 0.01)
    >>> b'backtalk_requests_total{endpoint="chat",status="200"} 1.0' in metrics.text()
    True
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "backtalk_requests", "Requests answered.", ["endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "backtalk_request_seconds",
            "From the request to the end of the answer.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tries = Counter(
            "backtalk_upstream_tries",
            "Requests sent to upstreams, by what came of them.",
            ["upstream", "outcome"],
            registry=registry,
        )
        self._records = Counter(
            "backtalk_records",
            "Records handed to the store, by what became of them.",
            ["kind", "outcome"],
            registry=registry,
        )
        self.unlogged = Counter(
            "backtalk_unlogged", "Answers that could not be kept.", registry=registry
        )
        self.waiting = Gauge(
            "backtalk_feedback_waiting",
            "Feedback whose interaction has not come yet.",
            registry=registry,
            multiprocess_mode="max",
        )
        self.spool_bytes = Gauge(
            "backtalk_spool_bytes",
            "Bytes on disk that the store has not got yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.store_up = Gauge(
            "backtalk_store_up",
            "Whether the store could be reached when it was last tried.",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def tried(self, upstream: str, outcome: str) -> None:
        """Count a request to an upstream: its status, or what went wrong."""
        self._tries.labels(upstream, outcome).inc()

    def kept(self, kind: str, outcome: str) -> None:
        """Count a record that was handed to the store."""
        self._records.labels(kind, outcome).inc()

    def text(self) -> bytes:
        """Return all counts, those of the other worker processes too."""
        if not os.environ.get(SHARED):
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
