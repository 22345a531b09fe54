"""Good answers and reviewed answers in feedback, from which optimisers write prompts."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.protocol import TextFeedback
from backtalk.learn.prompt.writer import Examples
from backtalk.learn.training_set import TrainingSet


def good_answers(feedback: TrainingSet) -> list[tuple[Prompt, str]]:
    """Return requests with a good answer each: demonstrations, edits, then preferred answers.

    A request has one answer: the last of the most reliable kind.
    """
    results: dict[str, tuple[Prompt, str]] = {}
    for pair in feedback.views(Pair):
        if not pair.tie and pair.is_plain:
            results[prompt_key(pair.prompt)] = (pair.prompt, pair.chosen)
    for example in feedback.views(SFTExample):
        if example.is_plain:
            results[prompt_key(example.prompt)] = (example.prompt, example.completion)
    return [(prompt, answer) for prompt, answer in results.values() if answer.strip()]


def draw_groups(
    examples: Examples, size: int, count: int, rng: np.random.Generator
) -> list[Examples]:
    """Return random groups of distinct examples.

    Parameters
    ----------
    examples : sequence of tuple[Prompt, str]
        Examples.
    size : int
        Size of a group; all examples if there are fewer.
    count : int
        Number of groups.
    rng : numpy.random.Generator
        Source of randomness.
    """
    if not examples:
        return []
    size = min(size, len(examples))
    return [
        [examples[i] for i in rng.choice(len(examples), size, replace=False)] for _ in range(count)
    ]


def draw(items: Sequence[TextFeedback], count: int, rng: np.random.Generator) -> list[TextFeedback]:
    """Return a random sample without replacement, of all items if there are fewer.

    Parameters
    ----------
    items : sequence of TextFeedback
        Reviewed answers.
    count : int
        Number of items.
    rng : numpy.random.Generator
        Source of randomness.
    """
    return [items[i] for i in rng.permutation(len(items))[:count]]
