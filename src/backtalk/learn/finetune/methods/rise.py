"""RISE: what is right against the same with a subtle error put into it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from backtalk.feedback.interaction import Message
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.segments import differences, mask_shared_tokens
from backtalk.learn.finetune.tree_builders import example_trees, pair_trees
from backtalk.learn.finetune.trees import PairLabel, PromptTree

Rng = np.random.Generator
Beta = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]

ASK = (
    "Write your answer again with one subtle error in it: change one number, sign or word so that "
    "it becomes wrong, and leave all the rest as it is. Write nothing else."
)

_NUMBER = re.compile(r"\d+")
_SIGN = re.compile(r"(?<=[\w)] )[-+*/\u00d7\u00f7](?= [\w(])")
_WORD = re.compile(r"[^\W\d_]{2,}")
_SIGNS = ("+-*/", "+-\u00d7\u00f7")


@training_method("rise", needs=[SFTExample], paper=find_objective("rise").paper)
async def rise(
    work: MethodContext,
    *,
    beta: Beta = 0.1,
    nll: Weight = 0.1,
    injector: Literal["rule", "model"] = "rule",
    errors: Count = 1,
    ask: str = ASK,
    most_changed: Share = 0.5,
) -> BuildTasks:
    """Put errors into right answers, and learn to tell the two apart by the tokens that differ.

    Pairs that the feedback holds besides, of whole responses, are learned from together with
    these, as in the paper.

    Parameters
    ----------
    work : MethodContext
        Whose examples are taken to be right.
    beta : Beta, default 0.1
        How strongly the policy is held near the reference.
    nll : Weight, default 0.1
        The weight of the likelihood of what is right, both of the tokens that differ and of all.
    injector : {"rule", "model"}, default "rule"
        Who puts errors in. ``"rule"`` changes a number or a sign, or a word into one that follows
        the same word in another example. ``"model"`` has the policy's own model do it, as in the
        paper; that needs a model that can follow :data:`ASK`.
    errors : Count, default 1
        How many wrong texts are made of each right one.
    ask : str, default ASK
        What the model is told.
    most_changed : Share, default 0.5
        What the model writes is used if at most this share of the words has changed.
    """
    examples = {
        kind: [one for one in own if one.completion.strip()]
        for kind, own in work.feedback.by_kind(SFTExample).items()
    }
    flat = [one for own in examples.values() for one in own]
    if injector == "rule":
        words = followers([one.completion for one in flat])
        rng = np.random.default_rng([work.run.seed, 11])
        wrong = [[inject(one.completion, words, rng) for _ in range(errors)] for one in flat]
    else:
        asked = [
            (*one.prompt, Message.assistant(one.completion), Message.user(ask)) for one in flat
        ]
        said = await work.sample(asked, errors)
        wrong = [
            [text if changed(one.completion, text) <= most_changed else None for text in texts]
            for one, texts in zip(flat, said, strict=True)
        ]
    spoilt = iter(wrong)
    made = {
        kind: [
            Injected(one, text)
            for one in own
            for text in dict.fromkeys(next(spoilt))
            if text is not None and text.strip() != one.completion.strip()
        ]
        for kind, own in examples.items()
    }
    bound = find_objective("rise").bind(beta=beta, nll=nll)
    imitated = find_objective("sft").bind()

    def make(encoder: Encoder) -> list[TrainingTask]:
        missing = len(flat) * errors - sum(map(len, made.values()))
        if missing:
            encoder.left_out["errors that could not be put in"] += missing
        parts = []
        for kind, own in made.items():
            trees = injected_trees(encoder, own)
            parts.append(TrainingTask(f"{kind}, spoilt", bound, trees))
            right = example_trees(encoder, [one.example for one in own])
            if nll and trees and right:
                # The objective has the likelihood of the tokens that differ; this is of all.
                share = nll * len(trees) / len(right)
                parts.append(TrainingTask(f"{kind}, right", imitated, right, share))
        parts += [
            TrainingTask(kind, bound, pair_trees(encoder, own))
            for kind, own in work.feedback.by_kind(Pair).items()
        ]
        return parts

    return make


@dataclass(frozen=True)
class Injected:
    """A right answer, and the same with an error in it."""

    example: SFTExample
    wrong: str


def injected_trees(encoder: Encoder, made: Sequence[Injected]) -> list[PromptTree]:
    """Return trees of a right and a wrong text, of which the tokens that differ are learned."""
    results = []
    for one in made:
        tree = encoder.tree(
            one.example.prompt,
            [Text(one.example.completion), Text(one.wrong)],
            weight=one.example.weight,
            pairs=[PairLabel(0, 1)],
        )
        if tree is not None:
            results.append(mask_shared_tokens(tree))
    return results


def changed(one: str, other: str) -> float:
    """Return the share of the words of a text that another one has otherwise."""
    words = one.split()
    return sum(end - start for start, end in differences(words, other.split())[0]) / len(words)


def followers(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the different words that follow each word in some texts, in order."""
    results: dict[str, dict[str, None]] = defaultdict(dict)
    for text in texts:
        for before, word in _adjacent(text):
            results[before][word.group()] = None
    return {before: [*after] for before, after in results.items()}


def inject(text: str, words: Mapping[str, Sequence[str]], rng: Rng) -> str | None:
    """Return a text with one error: another number, another sign, or another word.

    Numbers and signs are worth more than words, which are changed where there are none: an answer
    that is worked out goes wrong in its numbers. ``None`` where there is nothing to change.

    Parameters
    ----------
    text : str
        The right text.
    words : Mapping[str, Sequence[str]]
        Which words may follow each word; see :func:`followers`.
    chance
        Decides what is changed, and into what.
    """
    exact = [*_NUMBER.finditer(text), *_SIGN.finditer(text)]
    if exact:
        place = exact[int(rng.integers(len(exact)))]
        put = _other_number if place.group().isdigit() else _other_sign
        return _replaced(text, place, put(place.group(), rng))
    loose = [
        (place, others)
        for before, place in _adjacent(text)
        if (others := [word for word in words.get(before, ()) if word != place.group()])
    ]
    if not loose:
        return None
    place, others = loose[int(rng.integers(len(loose)))]
    return _replaced(text, place, others[int(rng.integers(len(others)))])


def _adjacent(text: str) -> list[tuple[str, re.Match[str]]]:
    results = list(_WORD.finditer(text))
    return [(one.group(), other) for one, other in pairwise(results)]


def _replaced(text: str, place: re.Match[str], other: str) -> str:
    return text[: place.start()] + other + text[place.end() :]


def _other_number(digits: str, rng: Rng) -> str:
    """Return a number nearby, or one that differs in its tens."""
    number = int(digits)
    steps = [step for step in (-10, -2, -1, 1, 2, 10) if number + step >= 0]
    return str(number + steps[int(rng.integers(len(steps)))]).zfill(len(digits))


def _other_sign(sign: str, rng: Rng) -> str:
    signs = next(signs for signs in _SIGNS if sign in signs)
    others = [other for other in signs if other != sign]
    return others[int(rng.integers(len(others)))]
