"""Batches in which some requests may be too long for the model."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.models.errors import ContextTooLong
from backtalk.models.protocol import Completion, Model, Request


async def generate_fitting(model: Model, requests: Sequence[Request]) -> list[Completion | None]:
    """Return the completion of each request, ``None`` if it does not fit into the context window.

    Parameters
    ----------
    model : Model
        Model.
    requests : sequence of Request
        Requests.

    Raises
    ------
    ModelError
        If a request fails for another reason.
    """
    try:
        return [*await model.generate(requests)]
    except ContextTooLong as error:
        completions = error.completions or (None,) * len(requests)
    return [
        completion or await _generate_one(model, request)
        for completion, request in zip(completions, requests, strict=True)
    ]


async def _generate_one(model: Model, request: Request) -> Completion | None:
    try:
        (completion,) = await model.generate([request])
    except ContextTooLong:
        return None
    return completion
