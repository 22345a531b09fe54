"""Log-likelihoods of responses under a model that computes log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backtalk.feedback.interaction import Prompt
from backtalk.learn.lazy_modules import np
from backtalk.models import PromptResponse, Scorer
from backtalk.models.errors import BadRequest, ContextTooLong, TemplateError

if TYPE_CHECKING:
    from numpy.typing import NDArray


async def log_likelihoods(model: Scorer, texts: Sequence[tuple[Prompt, str]]) -> list[float | None]:
    """Return the log-probability of each response in nats; ``None`` where it has none.

    A response has none if it is too long, or the model cannot read it.

    Parameters
    ----------
    model : Scorer
        Model.
    texts : sequence of tuple
        Messages that the model reads, and responses.
    """
    scores = await token_log_likelihoods(model, texts)
    return [None if values is None else float(np.sum(values)) for values in scores]


async def token_log_likelihoods(
    model: Scorer, texts: Sequence[PromptResponse]
) -> list[NDArray[np.float64] | None]:
    """Return the log-probabilities of each response's tokens in nats; ``None`` where it has none.

    Parameters
    ----------
    model : Scorer
        Model.
    texts : sequence of tuple
        Messages that the model reads, and responses.
    """
    try:
        return [*await model.score(texts)]
    except (ContextTooLong, TemplateError, BadRequest):
        if len(texts) == 1:
            return [None]
    half = len(texts) // 2
    first = await token_log_likelihoods(model, texts[:half])
    return [*first, *await token_log_likelihoods(model, texts[half:])]
