"""Questions of the demo with a real model, and the rule by which simulated people judge answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

import numpy as np

from backtalk.feedback import as_prompt
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.split import Split, split_for
from backtalk.rewards import Scores
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.rewards.protocol import PromptResponse

SUBJECTS = (
    "anchor", "bakery", "battery", "bicycle", "bridge", "candle", "canal", "castle", "compass",
    "desert", "dictionary", "diary", "engine", "festival", "forest", "garden", "glacier", "hammer",
    "harbour", "island", "kite", "ladder", "lantern", "library", "lighthouse", "map", "market",
    "microscope", "mirror", "museum", "orchestra", "passport", "pencil", "piano", "pyramid",
    "river", "satellite", "school", "telescope", "thermometer", "tunnel", "umbrella", "violin",
    "volcano", "waterfall", "windmill",
)  # fmt: skip
"""Subjects of the questions."""

_QUESTIONS = (
    "What is {}?",
    "Tell me about {}.",
    "How would you explain {} to a child?",
    "What should I know about {}?",
    "Why is {} useful or interesting?",
    "Describe {}.",
)
_MAX_WORDS = 80
"""Number of words from which a further word makes no difference."""


def questions(split: Split, count: int, *, seed: int = 0) -> list[Prompt]:
    """Return different questions of one split, in random order.

    Parameters
    ----------
    split : {"train", "held-out"}
        Split of the prompts, as a store divides them.
    count : int
        Number of questions; fewer are returned if there are no more.
    seed : int, default 0
        Seed of their order.
    """
    prompts = [
        as_prompt(form.format(f"{'an' if subject[0] in 'aeiou' else 'a'} {subject}"))
        for subject, form in product(SUBJECTS, _QUESTIONS)
    ]
    chosen = [prompt for prompt in prompts if split_for(prompt_key(prompt)) == split]
    order = np.random.default_rng([seed, 3]).permutation(len(chosen))
    return [chosen[i] for i in order[:count]]


class BriefAnswers:
    """Rule of the simulated people: an answer names the subject of the question, and is brief.

    An answer that names the subject is worth more than any other one; among those that do, and
    among those that do not, one of fewer words is worth more, up to 80 words.
    """

    name = "brief answers"
    bounds = (0.0, 1.0)
    info = JudgeInfo(name=name, kind="oracle")

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the worth of each answer, in [0, 1]."""
        return Scores(np.array([worth(messages[-1].text, text) for messages, text in answers]))


class NamesSubject:
    """Guardrail: 1 for an answer that names the subject of the question, otherwise 0."""

    name = "names the subject"
    bounds = (0.0, 1.0)
    info = JudgeInfo(name=name, kind="oracle")

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return 1 or 0 for each answer."""
        return Scores(
            np.array([float(names_subject(messages[-1].text, text)) for messages, text in answers])
        )


def worth(question: str, answer: str) -> float:
    """Return the worth of an answer by the rule of :class:`BriefAnswers`.

    >>> worth("What is a kite?", "A kite flies on a string."), worth("What is a kite?", "A toy.")
    (0.9625, 0.4875)
    """
    brevity = max(0.0, 1 - len(answer.split()) / _MAX_WORDS)
    return (names_subject(question, answer) + brevity) / 2


def names_subject(question: str, answer: str) -> bool:
    """Return true if an answer names the subject of a question, in the singular or plural.

    >>> names_subject("Describe a library.", "Libraries lend books.")
    True
    """
    (subject,) = (word for word in re.findall(r"[a-z]+", question.lower()) if word in SUBJECTS)
    stem = subject.removesuffix("y")
    return re.search(rf"\b{stem}", answer.lower()) is not None
