"""What the gateway costs, side by side with a peer; and what it stands.

``race`` is a benchmark as the others are: ``python -m benchmarks serving``. ``soak``, ``hostile``
and ``processes`` run by hand: ``python -m benchmarks.serving.soak``.
"""

from __future__ import annotations

from benchmarks.measure import Measured


def measure() -> list[Measured]:
    """Run the race; the load and the upstream are processes that need none of its imports."""
    from benchmarks.serving import race

    return race.measure()
