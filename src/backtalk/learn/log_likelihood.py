"""Log-likelihoods of responses under a model that computes log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.feedback.interaction import Prompt
from backtalk.learn.lazy_modules import np
from backtalk.models import Scorer
from backtalk.models.errors import BadRequest, ContextTooLong, TemplateError


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
    try:
        return [float(np.sum(values)) for values in await model.score(texts)]
    except (ContextTooLong, TemplateError, BadRequest):
        if len(texts) == 1:
            return [None]
        half = len(texts) // 2
        first = await log_likelihoods(model, texts[:half])
        return [*first, *await log_likelihoods(model, texts[half:])]
