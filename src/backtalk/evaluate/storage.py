"""Storage of evaluations in a project."""

from __future__ import annotations

from backtalk.evaluate.result import Evaluation
from backtalk.store import Store


def save_evaluation(store: Store, evaluation: Evaluation) -> str:
    """Save an evaluation in a project and return its id."""
    store.documents.put("evaluation", evaluation.id, evaluation.to_json())
    return evaluation.id


def read_evaluation(store: Store, id: str) -> Evaluation:  # noqa: A002
    """Return an evaluation by its id or a prefix of it.

    Raises
    ------
    NotFound
        If no evaluation has the id.
    """
    return Evaluation.model_validate_json(store.documents.get("evaluation", id))


def list_evaluations(store: Store, *, candidate: str | None = None) -> list[Evaluation]:
    """Return the evaluations of a project, or of one candidate, the oldest first."""
    evaluations = [
        Evaluation.model_validate_json(body) for _, _, body in store.documents.all("evaluation")
    ]
    return [item for item in evaluations if candidate in {None, item.candidate}]
