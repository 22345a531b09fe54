"""Methods ``pe2`` and ``greaterprompt``: guided revision, and optimisers behind one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from backtalk.learn.method import Paper
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.ape import ApeProposer
from backtalk.learn.prompt.proposers.greater import GreaterProposer, local_model, no_gradients
from backtalk.learn.prompt.proposers.pe2 import EngineerProposer
from backtalk.learn.prompt.proposers.protegi import ProtegiProposer
from backtalk.learn.prompt.proposers.textgrad import TextGradProposer
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.prompt.token_search.settings import (
    EXTRACTION,
    Reasoning,
    TokenSearchSettings,
)
from backtalk.learn.requirements import is_trainable
from backtalk.policy import Policy

Family = Literal["auto", "text", "gradient", "both"]
"""Optimisers that read words about answers, those that read gradients, or both in turn."""
TextOptimiser = Literal["ape", "apo", "pe2", "textgrad"]
"""Optimiser of the text family; ``apo`` is ``protegi`` by its other name."""

SMALL = 8_000_000_000
"""Number of parameters up to which a local model optimises its prompt by gradients."""


@optimiser(
    "pe2",
    paper=Paper(
        "Prompt engineering a prompt engineer",
        "Ye et al.",
        2024,
        "https://arxiv.org/abs/2311.05661",
    ),
    formula="h = inspect(prompt, context, errors, questions); prompt' = revise(prompt, h); the "
    "best of all prompts so far are revised",
    example="-o batch_size=2",
)
async def pe2(
    search: Search,
    *,
    beam: Annotated[int, Field(ge=1)] = 2,
    batch_size: Annotated[int, Field(ge=1)] = 4,
    max_words: Annotated[int, Field(ge=1)] | None = None,
    history: Annotated[int, Field(ge=0)] = 0,
) -> Sequence[Proposer]:
    """Revise the best prompts by a guided inspection of their worst answers.

    A meta-prompt describes the task in two steps, shows where the instruction stands among the
    messages, and asks questions about each example.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    beam : int, default 2
        Number of prompts that are revised in a round.
    batch_size : int, default 4
        Number of answers that an inspection reads.
    max_words : int, optional
        Maximum number of words that a revision may change.
    history : int, default 0
        Number of earlier prompts that are shown with their scores.
    """
    return [
        EngineerProposer(
            search.writer,
            search.signal.known.reviews,
            beam=beam,
            batch_size=batch_size,
            max_words=max_words,
            history=history,
        )
    ]


def _check_family(policy: Policy, *, family: Family = "auto", **_: object) -> None:
    if family in {"gradient", "both"} and not is_trainable(policy):
        raise no_gradients("greaterprompt", policy.label)


@optimiser(
    "greaterprompt",
    paper=Paper(
        "GreaterPrompt: A unified, customizable, and high-performing open-source toolkit for "
        "prompt optimization",
        "Zheng et al.",
        2025,
        "https://arxiv.org/abs/2504.03975",
    ),
    formula="small local model: greater; other models: ape, apo, pe2 or textgrad",
    example="-o family=both",
    check=_check_family,
)
async def greaterprompt(
    search: Search,
    *,
    family: Family = "auto",
    text: TextOptimiser = "pe2",
    batch_size: Annotated[int, Field(ge=1)] = 6,
    steps: Annotated[int, Field(ge=1)] = 12,
    reasoning: Reasoning = "auto",
    extraction: str = EXTRACTION,
    small: Annotated[int, Field(ge=1)] = SMALL,
) -> Sequence[Proposer]:
    """Optimise a prompt by gradients where the model is small and local, by words elsewhere.

    The lineage notes which family ran, and the reason.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    family : {"auto", "text", "gradient", "both"}, default "auto"
        Optimisers that read words, those that read gradients, or both in turn; "auto" is
        "gradient" for a local model with good answers to learn from, unless it is large.
    text : {"ape", "apo", "pe2", "textgrad"}, default "pe2"
        Optimiser of the text family.
    batch_size : int, default 6
        Number of answers of a batch, in both families.
    steps : int, default 12
        Number of positions that a round of the gradient family visits.
    reasoning : {"auto", "none", "steps", "response"}, default "auto"
        Text that the model generates before the answer whose loss counts; see ``greater``.
    extraction : str, default "Therefore, the final answer is"
        Text between a response and a final answer; see ``greater``.
    small : int, default 8,000,000,000
        Number of parameters up to which a local model counts as small.
    """
    chosen, reason = (family, "by option") if family != "auto" else choose_family(search, small)
    search.notes["family"] = f"{chosen}: {reason}"
    with search.context.run.task(f"greaterprompt: {chosen}, {reason}"):
        pass
    proposers: list[Proposer] = []
    if chosen != "text":
        proposers.append(
            GreaterProposer(
                search.writer,
                search.signal.known.good_answers,
                TokenSearchSettings(),
                steps=steps,
                batch_size=batch_size,
                reasoning=reasoning,
                extraction=extraction,
            )
        )
    if chosen != "gradient":
        proposers.append(TEXT_OPTIMISERS[text](search, batch_size))
    return proposers


def choose_family(search: Search, small: int = SMALL) -> tuple[Family, str]:
    """Return the family that suits a policy's model, and the reason.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    small : int, default 8,000,000,000
        Number of parameters up to which a local model counts as small.
    """
    if not is_trainable(search.context.policy):
        return "text", "the model gives no gradients"
    if not search.signal.known.good_answers:
        return "text", "there are no good answers whose loss could fall"
    count = local_model(search.context).engine.parameters
    size = f"a local model of {count:,} parameters"
    return ("gradient", size) if count <= small else ("text", size)


def _ape(search: Search, _: int) -> Proposer:
    return ApeProposer(search.writer, search.signal.known.good_answers)


def _apo(search: Search, batch_size: int) -> Proposer:
    return ProtegiProposer(search.writer, search.signal.known.reviews, batch_size=batch_size)


def _pe2(search: Search, batch_size: int) -> Proposer:
    return EngineerProposer(search.writer, search.signal.known.reviews, batch_size=batch_size)


def _textgrad(search: Search, batch_size: int) -> Proposer:
    return TextGradProposer(search.writer, search.signal.known.reviews, batch_size=batch_size)


TEXT_OPTIMISERS: Mapping[TextOptimiser, Callable[[Search, int], Proposer]] = {
    "ape": _ape,
    "apo": _apo,
    "pe2": _pe2,
    "textgrad": _textgrad,
}
"""Makers of proposers of the text family, from the search and a batch size."""
