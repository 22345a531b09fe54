"""Weights of the evidence in scope decisions.

They are those of a logistic regression on scopes of 16 rules in natural language with 10 requests
each, and of the mail world's training tasks, with one to four examples or words alone. The rules
and requests that ``python -m benchmarks memory-scope`` measures are others.
"""

from __future__ import annotations

from collections.abc import Mapping

WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "where words": {"bias": -2.3, "condition": 6.0},
    "where meaning": {"bias": -3.8, "condition": 2.7, "meant": 5.0, "topic": 1.2},
    "inside words": {"bias": -1.5, "shared": 6.1, "foreign": -0.5, "near": 1.6, "margin": 1.5},
    "inside meaning": {"bias": -2.2, "shared": 5.2, "foreign": -0.5, "near": 3.5, "margin": 1.3},
    "where inside words": {"bias": -2.5, "condition": 6.1, "margin": 2.4},
    "where inside meaning": {
        "bias": -5.4,
        "condition": 1.7,
        "meant": 6.2,
        "topic": 0.7,
        "near": 3.4,
        "margin": 1.5,
    },
}
"""Weight of each part of the evidence in the log-odds, by what a scope has (words that say where,
examples inside) and by what the embedder knows (words, or their meaning)."""
