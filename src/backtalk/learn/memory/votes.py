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
from backtalk.learn.memory.induction import sandbox_world
from backtalk.learn.memory.traits import TRAITS, Trait
from backtalk.memory.requests import request_text
from backtalk.models import Request, Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray


_QUESTION = (
    "Principle: {principle}\n\nRequest:\n{request}\n\nAnswer A:\n{a}\n\nAnswer B:\n{b}\n\n"
    "Which answer follows the principle better? Reply with A, B or neither."
)
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
    """Return the votes of a model that compares the answers of each pair under each principle.

    The order of the answers alternates, so that a bias to one place cancels out.

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
    from backtalk.worlds.skills import comparison_prompt, parse_verdict  # noqa: PLC0415 - slow to import

    votes: Votes = np.zeros((len(principles), len(pairs)), dtype=np.int8)
    if not principles or not pairs:
        return votes
    world = sandbox_world(context.policy)
    requests, places = [], []
    for row, principle in enumerate(principles):
        for column, pair in enumerate(pairs):
            swapped = (row + column) % 2 == 1
            a, b = (pair.rejected, pair.chosen) if swapped else (pair.chosen, pair.rejected)
            prompt = (
                _question(principle.text, pair, a, b)
                if world is None
                else comparison_prompt((Message.system(principle.text), *pair.prompt), a, b)
            )
            requests.append(
                Request(
                    messages=prompt,
                    sampling=Sampling(max_tokens=8 if world is None else 96, temperature=0),
                    seed=context.run.seed * 1_000 + seed,
                )
            )
            places.append((row, column, -1 if swapped else 1))
    with context.run.task("testing principles", len(requests)):
        replies = await context.model().generate(requests)
    for (row, column, sign), reply in zip(places, replies, strict=True):
        letter = _letter(reply.text) if world is None else parse_verdict(reply.text)
        votes[row, column] = sign * {"a": 1, "b": -1}.get(letter or "", 0)
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
