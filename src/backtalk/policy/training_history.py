"""Histories of trainings: the metrics of each step, as an artifact that a policy's notes name."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import TypeAdapter

from backtalk.artifacts import Artifacts
from backtalk.policy.policy import Policy

_FILE = "training.json"
_NOTE = "history"
_HISTORY = TypeAdapter(list[dict[str, float]])


def save_history(history: Sequence[dict[str, float]], artifacts: Artifacts) -> str:
    """Store the metrics of each step, and return the id of the artifact."""
    return artifacts.put({_FILE: json.dumps(list(history)).encode()})


def read_history(history: Policy | str, artifacts: Artifacts) -> list[dict[str, float]]:
    """Return the metrics of each step of a training.

    Parameters
    ----------
    history : Policy or str
        Trained policy, or the id of the artifact. A policy without a training has no steps.
    artifacts : Artifacts
        Artifacts of its store.

    Raises
    ------
    NotFound
        If the artifact is not in the store.
    """
    id_ = history if isinstance(history, str) else history.lineage.notes.get(_NOTE)
    return _HISTORY.validate_json(artifacts.read(id_)[_FILE]) if isinstance(id_, str) else []
