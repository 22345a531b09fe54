"""Method ``greater``: tokens of a prompt by gradients over reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.feedback.views import CritiqueView
from backtalk.learn.method import Paper
from backtalk.learn.prompt.examples import good_answers
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.greater import GreaterProposer, no_gradients
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.prompt.token_search.settings import (
    EXTRACTION,
    Reasoning,
    TokenSearchSettings,
)
from backtalk.learn.requirements import (
    PACKAGES,
    FeedbackRequirement,
    PolicyRequirement,
    is_trainable,
)
from backtalk.policy import Policy

GOOD_ANSWERS = FeedbackRequirement(
    "edits, demonstrations, preferred answers or critiques",
    lambda feedback: bool(good_answers(feedback) or feedback.views(CritiqueView)),
    definite=False,
)
GRADIENTS = PolicyRequirement("a policy with a local model, for its gradients", is_trainable)


def _check_gradients(policy: Policy, **_: object) -> None:
    if not is_trainable(policy):
        raise no_gradients("greater", policy.label)


@optimiser(
    "greater",
    paper=Paper(
        "GReaTer: Gradients over reasoning makes smaller language models strong prompt optimizers",
        "Das et al.",
        2025,
        "https://arxiv.org/abs/2412.09722",
    ),
    formula="p_i = argmin over candidates v of d(loss(y | x, p, r) + lambda ppl(p)) / d onehot_v; "
    "candidates: intersection of top-k of P(. | input, p_<i) over inputs",
    example="-o reasoning=response",
    requires=[GOOD_ANSWERS, GRADIENTS, PACKAGES],
    check=_check_gradients,
)
async def greater(
    search: Search,
    *,
    steps: Annotated[int, Field(ge=1)] = 12,
    batch_size: Annotated[int, Field(ge=1)] = 8,
    top_k: Annotated[int, Field(ge=1)] = 10,
    contexts: Annotated[int, Field(ge=1)] = 4,
    evaluated: Annotated[int, Field(ge=1)] = 3,
    perplexity_weight: Annotated[float, Field(ge=0)] = 0.02,
    continuations: bool = True,
    reasoning: Reasoning = "auto",
    extraction: str = EXTRACTION,
) -> Sequence[Proposer]:
    """Search for the tokens of a line by gradients of the policy's own local model.

    At each position, tokens that the model itself finds likely are ordered by the gradient of the
    loss of good answers: edits, demonstrations, preferred answers. The best are evaluated.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    steps : int, default 12
        Number of positions that are visited in a round.
    batch_size : int, default 8
        Number of good answers whose loss counts.
    top_k : int, default 10
        Number of the most likely tokens of a context.
    contexts : int, default 4
        Number of contexts, about other inputs each, whose likely tokens are intersected.
    evaluated : int, default 3
        Number of tokens with the steepest gradients that are evaluated.
    perplexity_weight : float, default 0.02
        Factor on the perplexity of the line; a larger one gives plainer lines.
    continuations : bool, default True
        If true, each token is also evaluated with the rest of the line as the model goes on.
    reasoning : {"auto", "none", "steps", "response"}, default "auto"
        Text that the model generates before the answer whose loss counts: none; its response up to
        the last line, before the last line of the good answer; or its whole response and the
        extraction text. "auto" takes the whole response if good answers are short beside it, and
        none otherwise.
    extraction : str, default "Therefore, the final answer is"
        Text between a response and a final answer.
    """
    return [
        GreaterProposer(
            search.writer,
            search.signal.known.good_answers,
            TokenSearchSettings(
                top_k=top_k,
                evaluated=evaluated,
                perplexity_weight=perplexity_weight,
                continuations=continuations,
            ),
            steps=steps,
            batch_size=batch_size,
            contexts=contexts,
            reasoning=reasoning,
            extraction=extraction,
        )
    ]
