"""From views of feedback to trees: pairs, lists, examples, labels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import LabelView, Pair, RankingView, ScoreView, SFTExample
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.trees import PairLabel, PromptTree

MOST_RESPONSES = 16
"""The most responses of one tree; a prompt with more has several."""


def _plainly(_: Chat, text: str) -> Text:
    return Text(text)


def _nothing(_: Pair) -> Mapping[str, float]:
    return {}


def pair_trees(
    encoder: Encoder,
    pairs: Sequence[Pair],
    *,
    text: Callable[[Chat, str], Text] = _plainly,
    facts: Callable[[Pair], Mapping[str, float]] = _nothing,
) -> list[PromptTree]:
    """Return trees of compared responses: each response of a prompt is there once.

    Ties and a response that is compared with itself say nothing about which is better: they are
    left out and counted, and so is a pair of which one response is too long. A comparison knows
    its ``probability`` and ``strength``.

    Parameters
    ----------
    encoder : Encoder
        Makes them.
    pairs : sequence of Pair
        What was compared.
    text : Callable[[Chat, str], Text], default _plainly
        What is known of a response to a prompt beside its words.
    facts : Callable[[Pair], Mapping[str, float]], default _nothing
        What else is known of a comparison.
    """
    prompts: dict[str, Chat] = {}
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.tie or pair.chosen == pair.rejected:
            encoder.left_out["ties"] += 1
        elif _all_fit(encoder, pair.prompt, [pair.chosen, pair.rejected]):
            key = prompt_key(pair.prompt)
            prompts.setdefault(key, pair.prompt)
            grouped[key].append(pair)
    return kept(
        encoder.tree(prompts[key], [text(prompts[key], one) for one in texts], pairs=compared)
        for key, own in grouped.items()
        for texts, compared in _within_size(own, facts)
    )


def _within_size(
    pairs: Sequence[Pair], more: Callable[[Pair], Mapping[str, float]]
) -> Iterator[tuple[list[str], list[PairLabel]]]:
    """Yield the responses of one prompt's pairs with their comparisons, not too many at a time."""
    places: dict[str, int] = {}
    compared: list[PairLabel] = []
    for pair in pairs:
        new = {pair.chosen, pair.rejected} - places.keys()
        if len(places) + len(new) > MOST_RESPONSES:
            yield list(places), compared
            places, compared = {}, []
        for text in (pair.chosen, pair.rejected):
            places.setdefault(text, len(places))
        facts = {"probability": pair.probability, **more(pair)}
        if pair.strength is not None:
            facts["strength"] = pair.strength
        compared.append(PairLabel(places[pair.chosen], places[pair.rejected], pair.weight, facts))
    if compared:
        yield list(places), compared


def example_trees(encoder: Encoder, examples: Sequence[SFTExample]) -> list[PromptTree]:
    """Return trees of one response each, to imitate."""
    return kept(
        encoder.tree(one.prompt, [Text(one.completion, 1.0)], weight=one.weight) for one in examples
    )


def labelled_trees(
    encoder: Encoder, labels: Sequence[LabelView], *, anchors: bool
) -> list[PromptTree]:
    """Return trees of one response each, of value 1 if it is good and 0 if it is bad.

    Parameters
    ----------
    encoder : Encoder
        Makes them.
    labels : sequence of LabelView
        What was said.
    anchors : bool
        Whether each prompt also gets the response of the next other prompt, which is not meant
        for it: what KTO takes the KL divergence on (Ethayarajh et al., 2024, section 4.1). There
        is none where all labels are of one prompt, or where it would be too long.
    """
    others = _of_other_prompts(labels) if anchors else [None] * len(labels)
    return kept(
        encoder.tree(
            one.prompt,
            [Text(one.completion, float(one.good))],
            weight=one.weight,
            anchors=[other] if other is not None and _fits(encoder, one.prompt, other) else [],
        )
        for one, other in zip(labels, others, strict=True)
    )


def _of_other_prompts(labels: Sequence[LabelView]) -> list[str | None]:
    """Return for each label the response of the next one of another prompt, round the end."""
    keys = [prompt_key(one.prompt) for one in labels]
    results: list[str | None] = [None] * len(labels)
    # Twice round: what follows the last label of the list stands at its beginning.
    following: str | None = None
    for place in [*range(len(labels))[::-1]] * 2:
        after = (place + 1) % len(labels)
        if keys[after] != keys[place]:
            following = labels[after].completion
        results[place] = following
    return results


def list_trees(encoder: Encoder, lists: Sequence[RankingView | ScoreView]) -> list[PromptTree]:
    """Return trees of ranked responses, best first.

    The value of a response of a ranking is how many of the others stand in lower tiers, over the
    most there can be; that of a scored one is its score. Scores of one prompt by one annotator on
    one aspect are a list; of two scores of one response the later counts. Of a response that
    stands in several tiers the first counts. A list of more than :data:`MOST_RESPONSES` becomes
    several, each with responses from top to bottom.

    Left out and counted are responses that are too long, and lists without any that is better.
    """
    results = [
        _tree_of_tiers(encoder, one, tiers)
        for one in lists
        if isinstance(one, RankingView)
        for tiers in _tiers_within_size(encoder, one)
    ]
    for scores in _by_judge(lists).values():
        fit = [one for one in scores if _all_fit(encoder, one.prompt, [one.completion])]
        results += [_tree_of_scores(encoder, some) for some in _spread(fit)]
    return kept(results)


def order_trees(encoder: Encoder, lists: Sequence[RankingView | ScoreView]) -> list[PromptTree]:
    """Return the same for objectives that take an equal value as "equally good".

    A ranking whose responses within a tier are "unordered" says that no two of a tier were
    compared. It becomes as many lists as its largest tier has responses, each with one of every
    tier, which together count as one.
    """
    results: list[RankingView | ScoreView] = []
    for one in lists:
        if not isinstance(one, RankingView) or one.within == "tied":
            results.append(one)
            continue
        count = max(map(len, one.tiers))
        results += [
            one.model_copy(
                update={
                    "tiers": tuple((tier[i % len(tier)],) for tier in one.tiers),
                    "weight": one.weight / count,
                }
            )
            for i in range(count)
        ]
    return list_trees(encoder, results)


def _by_judge(
    lists: Iterable[RankingView | ScoreView],
) -> dict[tuple[str, Annotator, str], list[ScoreView]]:
    """Return the scores that compare, best first."""
    latest: dict[tuple[str, Annotator, str], dict[str, ScoreView]] = defaultdict(dict)
    for one in lists:
        if isinstance(one, ScoreView):
            own = latest[prompt_key(one.prompt), one.annotator, one.aspect]
            own[one.completion] = one
    return {key: sorted(own.values(), key=lambda one: -one.score) for key, own in latest.items()}


def _spread(ordered: Sequence[ScoreView]) -> list[list[ScoreView]]:
    """Return lists of the largest size or less, each with scores from top to bottom."""
    count = math.ceil(len(ordered) / MOST_RESPONSES)
    return [list(islice(ordered, i, None, count)) for i in range(count)]


def _tree_of_scores(encoder: Encoder, ordered: Sequence[ScoreView]) -> PromptTree | None:
    if ordered[0].score == ordered[-1].score:
        encoder.left_out["lists without an order"] += 1
        return None
    return encoder.tree(
        ordered[0].prompt,
        [Text(one.completion, one.score) for one in ordered],
        weight=float(np.mean([one.weight for one in ordered])),
    )


def _tiers_within_size(encoder: Encoder, ranking: RankingView) -> list[list[list[str]]]:
    """Return the tiers of the lists that a ranking becomes, without what does not fit."""
    level: dict[str, int] = {}
    for index, tier in enumerate(ranking.tiers):
        for text in tier:
            level.setdefault(text, index)
    texts = [text for text in level if _all_fit(encoder, ranking.prompt, [text])]
    count = math.ceil(len(texts) / MOST_RESPONSES)
    lists = []
    for i in range(count):
        tiers: dict[int, list[str]] = defaultdict(list)
        for text in texts[i::count]:
            tiers[level[text]].append(text)
        lists.append(list(tiers.values()))
    return lists


def _tree_of_tiers(
    encoder: Encoder, ranking: RankingView, tiers: Sequence[Sequence[str]]
) -> PromptTree | None:
    if len(tiers) < 2:
        encoder.left_out["lists without an order"] += 1
        return None
    below = count = sum(map(len, tiers))
    texts = []
    for tier in tiers:
        below -= len(tier)
        texts += [Text(text, below / (count - 1)) for text in tier]
    return encoder.tree(ranking.prompt, texts, weight=ranking.weight)


def _all_fit(encoder: Encoder, prompt: Chat, texts: Sequence[str]) -> bool:
    """Return whether responses fit after a prompt; count it if one does not."""
    fit = all(_fits(encoder, prompt, text) for text in texts)
    if not fit:
        encoder.left_out[f"longer than {encoder.longest} tokens"] += 1
    return fit


def _fits(encoder: Encoder, prompt: Chat, text: str) -> bool:
    if encoder.longest is None:
        return True
    counted = encoder.left_out.copy()
    fits = encoder.tree(prompt, [Text(text)]) is not None
    encoder.left_out = counted
    return fits


def kept(trees: Iterable[PromptTree | None]) -> list[PromptTree]:
    """Return the trees that were made, without those that were too long."""
    return [tree for tree in trees if tree is not None]
