"""RISE: right responses against the same responses with a subtle injected error."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from backtalk.feedback.interaction import Message
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, NonNegative, Positive, PositiveFraction
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.segments import differences, mask_shared_tokens
from backtalk.learn.finetune.tree_builders import example_trees, pair_trees
from backtalk.learn.finetune.trees import PairLabel, PromptTree
from backtalk.learn.lazy_modules import np
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

if TYPE_CHECKING:
    from numpy.random import Generator as Rng


ASK = (
    "Write your answer again with one subtle error in it: change one number, sign or word so that "
    "it becomes wrong, and leave all the rest as it is. Write nothing else."
)

_NUMBER = re.compile(r"\d+")
_SIGN = re.compile(r"(?<=[\w)] )[-+*/\u00d7\u00f7](?= [\w(])")
_WORD = re.compile(r"[^\W\d_]{2,}")
_SIGNS = ("+-*/", "+-\u00d7\u00f7")


def has_place_for_error(feedback: TrainingSet) -> bool:
    """Return whether an error can be put into an example, or there is a pair to train on."""
    texts = [example.completion for example in feedback.views(SFTExample)]
    words = following_words(texts)
    rng = np.random.default_rng(0)
    return any(inject_error(text, words, rng) is not None for text in texts) or any(
        not pair.tie and pair.chosen != pair.rejected for pair in feedback.views(Pair)
    )


@training_method(
    "rise",
    needs=[SFTExample],
    alternatives=[Pair],
    requires=[
        FeedbackRequirement(
            "an example with a number, a sign or a word that can be changed", has_place_for_error
        )
    ],
    objective="rise",
)
async def rise(
    context: MethodContext,
    *,
    beta: Positive = 0.1,
    nll: NonNegative = 0.1,
    injector: Literal["rule", "model"] = "rule",
    errors: Count = 1,
    ask: str = ASK,
    max_changed: PositiveFraction = 0.5,
) -> BuildTasks:
    """Inject errors into right responses, and prefer the right version on the tokens that differ.

    Xu et al. (2024). Pairs of whole responses in the feedback are trained on together with these,
    as in the paper.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of the implicit KL penalty towards the reference.
    nll : float, default 0.1
        Weight of the negative log-likelihood of the right response, both of the differing and of
        all tokens.
    injector : {"rule", "model"}, default "rule"
        Source of errors. ``"rule"`` changes a number or a sign, or replaces a word by one that
        follows the same word in another example. ``"model"`` lets the policy's own model do it, as
        in the paper; the model must be able to follow :data:`ASK`.
    errors : int, default 1
        Number of wrong versions of each right response.
    ask : str, default ASK
        Instruction to the model.
    max_changed : float, default 0.5
        Maximum fraction of changed words in the model's version.
    """
    examples = {
        kind: [example for example in items if example.completion.strip()]
        for kind, items in context.feedback.by_kind(SFTExample).items()
    }
    flat = [example for items in examples.values() for example in items]
    if injector == "rule":
        words = following_words([example.completion for example in flat])
        rng = np.random.default_rng([context.run.seed, 11])
        wrong = [
            [inject_error(example.completion, words, rng) for _ in range(errors)]
            for example in flat
        ]
    else:
        requests = [
            (*example.prompt, Message.assistant(example.completion), Message.user(ask))
            for example in flat
        ]
        samples = await context.sample(requests, errors)
        wrong = [
            [
                text if changed_fraction(example.completion, text) <= max_changed else None
                for text in texts
            ]
            for example, texts in zip(flat, samples, strict=True)
        ]
    wrong_iterator = iter(wrong)
    injected = {
        kind: [
            InjectedError(example, text)
            for example in items
            for text in dict.fromkeys(next(wrong_iterator))
            if text is not None and text.strip() != example.completion.strip()
        ]
        for kind, items in examples.items()
    }
    bound = get_objective("rise").bind(beta=beta, nll=nll)
    imitated = get_objective("sft").bind()

    def build(encoder: Encoder) -> list[TrainingTask]:
        missing = len(flat) * errors - sum(map(len, injected.values()))
        if missing:
            encoder.left_out["errors that could not be put in"] += missing
        parts = []
        for kind, items in injected.items():
            trees = injected_trees(encoder, items)
            parts.append(TrainingTask(f"{kind}, spoilt", bound, trees))
            right = example_trees(encoder, [example.example for example in items])
            if nll and trees and right:
                # The objective has the likelihood of the tokens that differ; this is of all.
                share = nll * len(trees) / len(right)
                parts.append(TrainingTask(f"{kind}, right", imitated, right, share))
        parts += [
            TrainingTask(kind, bound, pair_trees(encoder, items))
            for kind, items in context.feedback.by_kind(Pair).items()
        ]
        return parts

    return build


@dataclass(frozen=True)
class InjectedError:
    """An example and its version with an error."""

    example: SFTExample
    wrong: str


def injected_trees(encoder: Encoder, injected: Sequence[InjectedError]) -> list[PromptTree]:
    """Return trees of a right and a wrong text with weight on the tokens that differ."""
    results = []
    for item in injected:
        tree = encoder.tree(
            item.example.prompt,
            [ResponseText(item.example.completion), ResponseText(item.wrong)],
            weight=item.example.weight,
            pairs=[PairLabel(0, 1)],
        )
        if tree is not None:
            results.append(mask_shared_tokens(tree))
    return results


def changed_fraction(a: str, b: str) -> float:
    """Return the fraction of the words of a text that another text changes."""
    words = a.split()
    return sum(end - start for start, end in differences(words, b.split())[0]) / len(words)


def following_words(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the distinct words that follow each word in some texts, in order of appearance."""
    results: dict[str, dict[str, None]] = defaultdict(dict)
    for text in texts:
        for before, word in _word_bigrams(text):
            results[before][word.group()] = None
    return {before: [*after] for before, after in results.items()}


def inject_error(text: str, words: Mapping[str, Sequence[str]], rng: Rng) -> str | None:
    """Return a text with one error: another number, another sign, or another word.

    Words are changed only in texts without numbers and signs. Return ``None`` if there is nothing
    to change.

    Parameters
    ----------
    text : str
        Right text.
    words : Mapping[str, Sequence[str]]
        Words that follow each word; see :func:`followers`.
    rng : numpy.random.Generator
        Random number generator.
    """
    matches = [*_NUMBER.finditer(text), *_SIGN.finditer(text)]
    if matches:
        match = matches[int(rng.integers(len(matches)))]
        change = _other_number if match.group().isdigit() else _other_sign
        return _replace_match(text, match, change(match.group(), rng))
    replaceable = [
        (match, others)
        for before, match in _word_bigrams(text)
        if (others := [word for word in words.get(before, ()) if word != match.group()])
    ]
    if not replaceable:
        return None
    match, others = replaceable[int(rng.integers(len(replaceable)))]
    return _replace_match(text, match, others[int(rng.integers(len(others)))])


def _word_bigrams(text: str) -> list[tuple[str, re.Match[str]]]:
    words = list(_WORD.finditer(text))
    return [(first.group(), second) for first, second in pairwise(words)]


def _replace_match(text: str, match: re.Match[str], replacement: str) -> str:
    return text[: match.start()] + replacement + text[match.end() :]


def _other_number(digits: str, rng: Rng) -> str:
    """Return a nearby number, or one with another tens digit."""
    number = int(digits)
    steps = [step for step in (-10, -2, -1, 1, 2, 10) if number + step >= 0]
    return str(number + steps[int(rng.integers(len(steps)))]).zfill(len(digits))


def _other_sign(sign: str, rng: Rng) -> str:
    signs = next(signs for signs in _SIGNS if sign in signs)
    others = [other for other in signs if other != sign]
    return others[int(rng.integers(len(others)))]
