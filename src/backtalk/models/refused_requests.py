"""Batches in which a model may refuse some requests, such as a prompt that its template refuses."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.models.errors import BadRequest, ContextTooLong, UnknownToken
from backtalk.models.protocol import Completion, Model, Request

REFUSED = (BadRequest, ContextTooLong, UnknownToken)
"""Errors of a single request, which say nothing about others."""


async def generate_or_refuse(
    model: Model, requests: Sequence[Request]
) -> list[Completion | BadRequest | ContextTooLong | UnknownToken]:
    """Return the completion of each request, or the error with which the model refuses it.

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
    except REFUSED as error:
        completions = error.completions or (None,) * len(requests)
    return [
        completion or await _generate_one(model, request)
        for completion, request in zip(completions, requests, strict=True)
    ]


async def _generate_one(
    model: Model, request: Request
) -> Completion | BadRequest | ContextTooLong | UnknownToken:
    try:
        (completion,) = await model.generate([request])
    except REFUSED as error:
        return error
    return completion
