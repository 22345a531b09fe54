"""Methods that revise prompts by words about their answers: ProTeGi, GEPA, TextGrad, OptoPrime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.learn.method import Paper
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.gepa import ReflectiveProposer
from backtalk.learn.prompt.proposers.optoprime import OptoPrimeProposer
from backtalk.learn.prompt.proposers.protegi import ProtegiProposer
from backtalk.learn.prompt.proposers.textgrad import TextGradProposer
from backtalk.learn.prompt.protocol import Proposer


@optimiser(
    "protegi",
    paper=Paper(
        "Automatic prompt optimization with 'gradient descent' and beam search",
        "Pryzant et al.",
        2023,
        "https://arxiv.org/abs/2305.03495",
    ),
    formula="g = critique(prompt, errors); prompt' = revise(prompt, g); the beam keeps the best by "
    "mean + c sqrt(log t / n)",
    example="-o beam=3",
)
async def protegi(
    search: Search,
    *,
    beam: Annotated[int, Field(ge=1)] = 3,
    gradients: Annotated[int, Field(ge=1)] = 2,
    batch_size: Annotated[int, Field(ge=1)] = 6,
    edits: Annotated[int, Field(ge=1)] = 2,
    variations: Annotated[int, Field(ge=0)] = 2,
    budget: Annotated[int, Field(ge=1)] = 120,
) -> Sequence[Proposer]:
    """Revise prompts by critiques of their worst answers, in a beam that a bandit selects.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    beam : int, default 3
        Number of prompts that are revised in a round.
    gradients : int, default 2
        Number of critiques of each.
    batch_size : int, default 6
        Number of answers that a critique reads.
    edits : int, default 2
        Number of revisions by each critique.
    variations : int, default 2
        Number of variations of each prompt.
    budget : int, default 120
        Number of answers that the bandit scores in a round.
    """
    return [
        ProtegiProposer(
            search.writer,
            search.signal.known.reviews,
            beam=beam,
            gradients=gradients,
            batch_size=batch_size,
            edits=edits,
            variations=variations,
            budget=budget,
        )
    ]


@optimiser(
    "gepa",
    paper=Paper(
        "GEPA: Reflective prompt evolution can outperform reinforcement learning",
        "Agrawal et al.",
        2025,
        "https://arxiv.org/abs/2507.19457",
    ),
    formula="parent ~ number of examples on which it is best; child = revise(parent, critiques of "
    "a minibatch) or merge(parent, other parent)",
    example="-o merge=false",
    pareto=True,
)
async def gepa(
    search: Search,
    *,
    batch_size: Annotated[int, Field(ge=1)] = 6,
    merge: bool = True,
) -> Sequence[Proposer]:
    """Evolve prompts by reflection, from a Pareto front over the examples.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    batch_size : int, default 6
        Number of answers that a reflection reads.
    merge : bool, default True
        If true, lines of two prompts of the front are also put together.
    """
    known = search.signal.known.reviews
    return [ReflectiveProposer(search.writer, known, batch_size=batch_size, merge=merge)]


@optimiser(
    "textgrad",
    paper=Paper(
        "TextGrad: Automatic 'differentiation' via text",
        "Yuksekgonul et al.",
        2024,
        "https://arxiv.org/abs/2406.07496",
    ),
    formula="prompt_{t+1} = revise(prompt_t, critiques of batches t, t-1, ..., t-momentum)",
    example="-o momentum=2",
)
async def textgrad(
    search: Search,
    *,
    batch_size: Annotated[int, Field(ge=1)] = 6,
    momentum: Annotated[int, Field(ge=0)] = 2,
) -> Sequence[Proposer]:
    """Descend textual gradients: revise the prompt by critiques of batches, with momentum.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    batch_size : int, default 6
        Number of answers of a batch.
    momentum : int, default 2
        Number of earlier batches whose critiques count as well.
    """
    known = search.signal.known.reviews
    return [TextGradProposer(search.writer, known, batch_size=batch_size, momentum=momentum)]


@optimiser(
    "optoprime",
    paper=Paper(
        "Trace is the next AutoDiff: Generative optimization with rich feedback, execution traces, "
        "and LLMs",
        "Cheng et al.",
        2024,
        "https://arxiv.org/abs/2406.16218",
    ),
    formula="slots_{t+1} = infer(minimal subgraph of a batch with its feedback, attempts t-1, ..., "
    "t-memory_size)",
    example="-o memory_size=3",
)
async def optoprime(
    search: Search,
    *,
    batch_size: Annotated[int, Field(ge=1)] = 6,
    memory_size: Annotated[int, Field(ge=0)] = 3,
) -> Sequence[Proposer]:
    """Infer new slots of the prompt from the execution trace of a batch of answers.

    The writer reads a pseudo-program: slots, requests, answers, and what people said. It replies
    with new values of instruction, rules and tool descriptions, which are checked.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    batch_size : int, default 6
        Number of answers of a batch.
    memory_size : int, default 3
        Number of earlier batches that the writer reads as well.
    """
    known = search.signal.known.reviews
    return [OptoPrimeProposer(search.writer, known, batch_size=batch_size, memory_size=memory_size)]
