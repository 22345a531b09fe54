"""Prometheus metrics of the gateway."""

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

MULTIPROCESS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the folder in which worker processes share their metrics."""

_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Metrics of one gateway process.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.count_request("chat", 200, 0.01)
    >>> b'backtalk_requests_total{endpoint="chat",status="200"} 1.0' in metrics.render()
    True
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "backtalk_requests", "Number of requests.", ["endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "backtalk_request_seconds",
            "Seconds from the request to the end of the response.",
            ["endpoint"],
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self._attempts = Counter(
            "backtalk_upstream_attempts",
            "Number of requests sent to upstreams, by status code or error.",
            ["upstream", "outcome"],
            registry=registry,
        )
        self._records = Counter(
            "backtalk_records",
            "Number of records written to the store, by result.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._recalls = Counter(
            "backtalk_recalls",
            "Number of times that a policy's memory was read, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self._recall_seconds = Histogram(
            "backtalk_recall_seconds",
            "Seconds in which a policy's memory was read, or not.",
            buckets=_SECONDS_BUCKETS,
            registry=registry,
        )
        self.unlogged = Counter(
            "backtalk_unlogged",
            "Number of completions that could not be logged.",
            registry=registry,
        )
        self.feedback_pending = Gauge(
            "backtalk_feedback_pending",
            "Number of feedback records whose interaction has not arrived yet.",
            registry=registry,
            multiprocess_mode="max",
        )
        self.log_bytes = Gauge(
            "backtalk_write_ahead_log_bytes",
            "Number of bytes in the write-ahead log that are not in the store yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.store_up = Gauge(
            "backtalk_store_up",
            "1 if the store could be reached at the last attempt, else 0.",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def count_request(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request to the gateway.

        Parameters
        ----------
        endpoint : str
            Name of the endpoint, such as ``"chat"``.
        status : int
            HTTP status code of the response.
        seconds : float
            Duration of the request.
        """
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def count_attempt(self, upstream: str, outcome: str) -> None:
        """Count a request to an upstream, by its status code or error."""
        self._attempts.labels(upstream, outcome).inc()

    def count_record(self, kind: str, outcome: str) -> None:
        """Count a record written to the store, by its result."""
        self._records.labels(kind, outcome).inc()

    def count_recall(self, outcome: str, seconds: float) -> None:
        """Count a reading of a policy's memory, by its outcome, and its duration in seconds."""
        self._recalls.labels(outcome).inc()
        self._recall_seconds.observe(seconds)

    def render(self) -> bytes:
        """Return the metrics of all worker processes in Prometheus' text format."""
        if not os.environ.get(MULTIPROCESS_DIRECTORY):
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
