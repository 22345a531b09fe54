"""Benchmarks of the gateway: overhead compared with a peer, and robustness.

``race`` is one of the regular benchmarks: ``python -m benchmarks serving``. ``revisions``,
``large_events``, ``soak``, ``hostile`` and ``processes`` are run separately:
``python -m benchmarks.serving.soak``.
"""

from __future__ import annotations

from benchmarks.measure import BenchmarkResult


def measure() -> list[BenchmarkResult]:
    """Run the comparison, whose imports the load generator and the upstream do not need."""
    from benchmarks.serving import race

    return race.measure()
