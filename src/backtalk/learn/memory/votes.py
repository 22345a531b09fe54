"""Votes of principles on pairs of answers, by a program or by a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.log_likelihood import log_likelihoods
from backtalk.learn.memory.traits import TRAITS, Trait
from backtalk.memory.requests import request_text
from backtalk.models import Request, Sampling, Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray


_QUESTION = (
    "Principle: {principle}\n\nRequest:\n{request}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}\n\n"
    "Which answer follows the principle better? Reply with A, B or neither."
)
MIN_CHANGE = 0.7
"""Smallest change of the log-odds of two answers, in nats, that counts as a vote: odds of two."""
_LETTER = re.compile(r"\b([AB])\b")

Votes: TypeAlias = "NDArray[np.int8]"
"""Vote of each principle on each pair, shape ``(principles, pairs)``: 1 for the chosen answer, -1
for the rejected one, 0 for neither."""


@dataclass(frozen=True)
class Principle:
    """Principle in words, with the trait that a program can count, if it is one."""

    text: str
    trait: Trait | None = None
    sign: int = 0
    """1 for more of the trait, -1 for less, 0 without a trait."""


def trait_principles() -> list[Principle]:
    """Return both principles of each trait."""
    return [
        Principle(text, trait, sign)
        for trait in TRAITS
        for sign, text in ((1, trait.more), (-1, trait.less))
    ]


def trait_votes(principles: Sequence[Principle], pairs: Sequence[Pair]) -> Votes:
    """Return the votes of principles about traits; 0 for other principles.

    Parameters
    ----------
    principles : sequence of Principle
        Principles.
    pairs : sequence of Pair
        Pairs of answers.
    """
    votes: Votes = np.zeros((len(principles), len(pairs)), dtype=np.int8)
    for row, principle in enumerate(principles):
        if principle.trait is not None:
            votes[row] = [
                principle.sign * principle.trait.direction(pair.rejected, pair.chosen)
                for pair in pairs
            ]
    return votes


async def model_votes(
    context: MethodContext, principles: Sequence[Principle], pairs: Sequence[Pair], *, seed: int
) -> Votes:
    """Return the votes of a model on the answers of each pair under each principle.

    A model that computes log-probabilities votes for the answer that the principle in its prompt
    makes more likely, relative to the other one. Other models are asked which answer follows the
    principle better.

    Parameters
    ----------
    context : MethodContext
        Policy whose model votes, feedback and run.
    principles : sequence of Principle
        Principles.
    pairs : sequence of Pair
        Pairs of answers.
    seed : int
        Seed within the run.
    """
    if not principles or not pairs:
        return np.zeros((len(principles), len(pairs)), dtype=np.int8)
    model = context.model()
    if isinstance(model, Scorer):
        return await _likelihood_votes(model, context, principles, pairs)
    return await _comparison_votes(context, principles, pairs, seed=seed)


async def _likelihood_votes(
    model: Scorer, context: MethodContext, principles: Sequence[Principle], pairs: Sequence[Pair]
) -> Votes:
    """Return the sign of the change in the log-odds of each chosen answer, 0 if it is small."""
    policy = context.policy
    remembered = [[], *([principle.text] for principle in principles)]
    texts = [
        (policy.messages(pair.prompt, remembered=words), text)
        for words in remembered
        for pair in pairs
        for text in (pair.chosen, pair.rejected)
    ]
    with context.run.task("testing principles", len(texts)):
        scores = await log_likelihoods(model, texts)
    values = np.array([np.nan if one is None else one for one in scores])
    values = values.reshape(len(remembered), len(pairs), 2)
    log_odds = values[..., 0] - values[..., 1]
    change = np.nan_to_num(log_odds[1:] - log_odds[0])
    votes: Votes = (np.sign(change) * (np.abs(change) >= MIN_CHANGE)).astype(np.int8)
    return votes


async def _comparison_votes(
    context: MethodContext, principles: Sequence[Principle], pairs: Sequence[Pair], *, seed: int
) -> Votes:
    """Return which answer a model names; the order alternates, so that its bias cancels out."""
    votes: Votes = np.zeros((len(principles), len(pairs)), dtype=np.int8)
    requests, places = [], []
    for row, principle in enumerate(principles):
        for column, pair in enumerate(pairs):
            swapped = (row + column) % 2 == 1
            a, b = (pair.rejected, pair.chosen) if swapped else (pair.chosen, pair.rejected)
            requests.append(
                Request(
                    messages=_question(principle.text, pair, a, b),
                    sampling=Sampling(max_tokens=8, temperature=0),
                    seed=context.run.seed * 1_000 + seed,
                )
            )
            places.append((row, column, -1 if swapped else 1))
    with context.run.task("testing principles", len(requests)):
        replies = await context.model().generate(requests)
    for (row, column, sign), reply in zip(places, replies, strict=True):
        votes[row, column] = sign * {"a": 1, "b": -1}.get(_letter(reply.text) or "", 0)
    return votes


def _question(principle: str, pair: Pair, a: str, b: str) -> Prompt:
    text = _QUESTION.format(principle=principle, request=request_text(pair.prompt), a=a, b=b)
    return (Message.user(text),)


def _letter(reply: str) -> str | None:
    match = _LETTER.search(reply)
    return match[1].lower() if match else None


def reconstruct(votes: Votes, weights: Sequence[float]) -> NDArray[np.float64]:
    """Return the credit of a constitution for each pair: 1 if right, 0 if wrong, 0.5 if undecided.

    Parameters
    ----------
    votes : ndarray
        Votes, shape ``(principles, pairs)``.
    weights : sequence of float
        Weight of each principle.
    """
    totals = np.asarray(weights, dtype=float) @ votes
    return np.where(totals > 0, 1.0, np.where(totals < 0, 0.0, 0.5))
