"""Methods ``bootstrap``, ``auto-cot``, ``sec`` and ``leap-prompt``: prompts from few examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.learn.method import Paper
from backtalk.learn.prompt.examples import good_answers
from backtalk.learn.prompt.optimiser import Search, optimiser
from backtalk.learn.prompt.proposers.demonstrations import (
    TRIGGER,
    AutoCotProposer,
    BootstrapProposer,
    ContemplationProposer,
)
from backtalk.learn.prompt.proposers.principles import PrincipleProposer
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.requirements import FeedbackRequirement

Count = Annotated[int, Field(ge=1)]
RIGHT_ANSWERS = FeedbackRequirement(
    "a request with a right answer: an edit, a demonstration or a preference",
    lambda feedback: bool(good_answers(feedback)),
)


@optimiser(
    "bootstrap",
    paper=Paper(
        "Optimizing instructions and demonstrations for multi-stage language model programs",
        "Opsahl-Ong et al.",
        2024,
        "https://arxiv.org/abs/2406.11695",
    ),
    formula="gain(instruction i, demonstrations j) = a_i + b_j, fitted by ridge regression to "
    "answers of random combinations; the best combinations race",
    example="-o sets=6",
)
async def bootstrap(
    search: Search, *, sets: Count = 6, instructions: Count = 4, size: Count = 3, tried: Count = 48
) -> Sequence[Proposer]:
    """Choose an instruction and demonstrations together.

    Demonstrations are good answers of people, and answers of the policy that score well.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    sets : int, default 6
        Number of sets of demonstrations.
    instructions : int, default 4
        Number of instructions, the present one included.
    size : int, default 3
        Maximum number of demonstrations of a set.
    tried : int, default 48
        Number of answers by which combinations are ranked.
    """
    answers = search.signal.known.good_answers
    return [
        BootstrapProposer(
            search.writer, answers, sets=sets, instructions=instructions, size=size, tried=tried
        )
    ]


@optimiser(
    "auto-cot",
    paper=Paper(
        "Automatic chain of thought prompting in large language models",
        "Zhang et al.",
        2023,
        "https://arxiv.org/abs/2210.03493",
    ),
    formula="demonstrations = the simple request nearest to the centre of each k-means cluster, "
    "with the policy's own answer",
    example="-o clusters=4",
)
async def auto_cot(
    search: Search,  # noqa: ARG001 - as every optimiser
    *,
    clusters: Count = 4,
    trigger: str = TRIGGER,
) -> Sequence[Proposer]:
    """Add demonstrations that the policy answers itself, one from each cluster of requests.

    No answer of a person is shown; the signal decides whether the demonstrations help.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    clusters : int, default 4
        Number of clusters; half as many are tried as well.
    trigger : str, default "Let's think step by step."
        Line by which the model reasons first, tried beside going without; empty for none.
    """
    sizes = sorted({max(1, clusters // 2), clusters})
    return [AutoCotProposer(sizes=sizes, trigger=trigger)]


@optimiser(
    "sec",
    paper=Paper(
        "Are human-generated demonstrations necessary for in-context learning?",
        "Li et al.",
        2024,
        "https://arxiv.org/abs/2309.14681",
    ),
    formula="demonstrations ~ model(requests of this kind with ideal answers)",
    example="-o size=3",
)
async def sec(search: Search, *, size: Count = 3) -> Sequence[Proposer]:
    """Add demonstrations that the model makes up, requests included.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    size : int, default 3
        Number of demonstrations.
    """
    return [ContemplationProposer(search.writer, size=size)]


@optimiser(
    "leap-prompt",
    paper=Paper(
        "In-context principle learning from mistakes",
        "Zhang et al.",
        2024,
        "https://arxiv.org/abs/2402.05403",
    ),
    formula="mistakes = {y ~ policy(x) : y differs from the right answer}; low = reflect(mistake, "
    "right answer); high = condense(low); rules = high or low",
    example="-o mistakes=2",
    requires=[RIGHT_ANSWERS],
)
async def leap_prompt(
    search: Search,
    *,
    shown: Count = 12,
    mistakes: Count = 2,
    principles: Count = 5,
    max_similarity: Annotated[float, Field(gt=0, le=1)] = 0.98,
) -> Sequence[Proposer]:
    """Add principles that the model learns from its own mistakes on few examples.

    The method ``leap`` writes such principles into a memory, each with a scope; here they are rules
    of the prompt, and the gate decides.

    Parameters
    ----------
    search : Search
        Context, signal and writer.
    shown : int, default 12
        Number of requests with a right answer on which mistakes are made in a round.
    mistakes : int, default 2
        Number of answers that are sampled for each.
    principles : int, default 5
        Maximum number of high-level principles.
    max_similarity : float, default 0.98
        Share of words in common with the right answer, in [0, 1], from which on an answer is no
        mistake.
    """
    answers = search.signal.known.good_answers
    if not answers:
        raise BacktalkError(
            "No request has a right answer to compare mistakes with",
            "Add edits, demonstrations or preferences",
        )
    return [
        PrincipleProposer(
            search.writer,
            answers,
            examples=shown,
            samples=mistakes,
            max_similarity=max_similarity,
            principles=principles,
        )
    ]
