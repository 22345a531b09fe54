"""Builders of prompt trees from views of feedback: pairs, rankings, scores, examples, labels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import LabelView, Pair, RankingView, ScoreView, SFTExample
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.trees import PairLabel, PromptTree
from backtalk.learn.lazy_modules import np

MAX_RESPONSES = 16
"""Maximum number of responses of a tree; a prompt with more responses has several trees."""


def _plain_text(_: Prompt, text: str) -> ResponseText:
    return ResponseText(text)


def _no_features(_: Pair) -> Mapping[str, float]:
    return {}


def pair_trees(
    encoder: Encoder,
    pairs: Sequence[Pair],
    *,
    response_text: Callable[[Prompt, str], ResponseText] = _plain_text,
    features: Callable[[Pair], Mapping[str, float]] = _no_features,
) -> list[PromptTree]:
    """Return trees of compared responses; each response of a prompt occurs once in a tree.

    Ties and pairs of two equal responses are left out and counted, and so are pairs with a response
    that is too long or has no tokens. Every pair has the column ``probability``, and ``strength``
    if it is known.

    Parameters
    ----------
    encoder : Encoder
        Tokeniser of the texts.
    pairs : sequence of Pair
        Preferences.
    response_text : Callable[[Prompt, str], ResponseText], optional
        Function from a prompt and a response to the response with its columns; a response without
        columns by default.
    features : Callable[[Pair], Mapping[str, float]], optional
        Function from a pair to its further columns; none by default.
    """
    prompts: dict[str, Prompt] = {}
    pairs_by_prompt: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.tie or pair.chosen == pair.rejected:
            encoder.left_out["ties"] += 1
        elif not encoder.leaves_out(pair.prompt, [pair.chosen, pair.rejected]):
            key = prompt_key(pair.prompt)
            prompts.setdefault(key, pair.prompt)
            pairs_by_prompt[key].append(pair)
    return drop_none(
        encoder.tree(
            prompts[key], [response_text(prompts[key], text) for text in texts], pairs=labels
        )
        for key, prompt_pairs in pairs_by_prompt.items()
        for texts, labels in _pair_groups(prompt_pairs, features)
    )


def _pair_groups(
    pairs: Sequence[Pair], features: Callable[[Pair], Mapping[str, float]]
) -> Iterator[tuple[list[str], list[PairLabel]]]:
    """Yield the responses of one prompt's pairs, at most ``MAX_RESPONSES``, with their labels."""
    index: dict[str, int] = {}
    labels: list[PairLabel] = []
    for pair in pairs:
        new = {pair.chosen, pair.rejected} - index.keys()
        if len(index) + len(new) > MAX_RESPONSES:
            yield list(index), labels
            index, labels = {}, []
        for text in (pair.chosen, pair.rejected):
            index.setdefault(text, len(index))
        columns = {"probability": pair.probability, **features(pair)}
        if pair.strength is not None:
            columns["strength"] = pair.strength
        labels.append(PairLabel(index[pair.chosen], index[pair.rejected], pair.weight, columns))
    if labels:
        yield list(index), labels


def example_trees(encoder: Encoder, examples: Sequence[SFTExample]) -> list[PromptTree]:
    """Return trees of one response each, to imitate."""
    return drop_none(
        encoder.tree(
            example.prompt,
            [ResponseText(example.completion, label=True, reasoning=example.reasoning)],
            weight=example.weight,
        )
        for example in examples
    )


def label_trees(
    encoder: Encoder, labels: Sequence[LabelView], *, anchors: bool
) -> list[PromptTree]:
    """Return trees of one response each, with the column ``label``.

    Parameters
    ----------
    encoder : Encoder
        Tokeniser of the texts.
    labels : sequence of LabelView
        Good and bad responses.
    anchors : bool
        If true, each prompt has a KL anchor: the response of the next label with another prompt.
        KTO estimates the KL divergence on such mismatched responses (Ethayarajh et al., 2024,
        section 4.1). There is no anchor if all labels have the same prompt, or if it is too long.
    """
    mismatched = _mismatched_completions(labels) if anchors else [None] * len(labels)
    return drop_none(
        encoder.tree(
            label.prompt,
            [ResponseText(label.completion, label=label.good, reasoning=label.reasoning)],
            weight=label.weight,
            anchors=[anchor] if anchor is not None and encoder.fits(label.prompt, anchor) else [],
        )
        for label, anchor in zip(labels, mismatched, strict=True)
    )


def _mismatched_completions(labels: Sequence[LabelView]) -> list[str | None]:
    """Return for each label the response of the next one with another prompt, cyclically."""
    keys = [prompt_key(label.prompt) for label in labels]
    results: list[str | None] = [None] * len(labels)
    # Two passes: the label after the last one is the first.
    following: str | None = None
    for index in [*range(len(labels))[::-1]] * 2:
        after = (index + 1) % len(labels)
        if keys[after] != keys[index]:
            following = labels[after].completion
        results[index] = following
    return results


def list_trees(encoder: Encoder, lists: Sequence[RankingView | ScoreView]) -> list[PromptTree]:
    """Return trees of ranked or scored responses, best first, with the column ``score``.

    The score of a response of a ranking is the fraction of the other responses in lower tiers;
    that of a scored response is its score. The scores of one prompt by one annotator on one aspect
    form a list. Of two scores of one response the later one counts; of a response in several tiers
    the first tier counts. A list of more than :data:`MAX_RESPONSES` is split into several, each
    with responses from top to bottom.

    Responses that are too long or have no tokens are left out and counted, and so are lists in
    which no response is better than another.
    """
    results = [
        _ranking_tree(encoder, ranking, tiers)
        for ranking in lists
        if isinstance(ranking, RankingView)
        for tiers in _tier_groups(encoder, ranking)
    ]
    for scores in comparable_scores(lists).values():
        fitting = [
            score for score in scores if not encoder.leaves_out(score.prompt, [score.completion])
        ]
        results += [_score_tree(encoder, group) for group in _interleave(fitting)]
    return drop_none(results)


def ordered_list_trees(
    encoder: Encoder, lists: Sequence[RankingView | ScoreView]
) -> list[PromptTree]:
    """Return trees as :func:`list_trees` for objectives that take equal scores as a tie.

    Within an "unordered" tier of a ranking no two responses were compared. Such a ranking becomes
    as many lists as its largest tier has responses, each with one response of every tier. Together
    the lists have the weight of the ranking.
    """
    results: list[RankingView | ScoreView] = []
    for ranking in lists:
        if not isinstance(ranking, RankingView) or ranking.within == "tied":
            results.append(ranking)
            continue
        count = max(map(len, ranking.tiers))
        results += [
            ranking.model_copy(
                update={
                    "tiers": tuple((tier[i % len(tier)],) for tier in ranking.tiers),
                    "weight": ranking.weight / count,
                }
            )
            for i in range(count)
        ]
    return list_trees(encoder, results)


def comparable_scores(
    lists: Iterable[RankingView | ScoreView],
) -> dict[tuple[str, Annotator, str], list[ScoreView]]:
    """Return the comparable scores, best first, by prompt, annotator and aspect."""
    latest: dict[tuple[str, Annotator, str], dict[str, ScoreView]] = defaultdict(dict)
    for score in lists:
        if isinstance(score, ScoreView):
            group = latest[prompt_key(score.prompt), score.annotator, score.aspect]
            group[score.completion] = score
    return {
        key: sorted(group.values(), key=lambda score: -score.score) for key, group in latest.items()
    }


def _interleave(scores: Sequence[ScoreView]) -> list[list[ScoreView]]:
    """Return sorted scores as lists of at most ``MAX_RESPONSES``, each from top to bottom."""
    count = math.ceil(len(scores) / MAX_RESPONSES)
    return [list(islice(scores, i, None, count)) for i in range(count)]


def _score_tree(encoder: Encoder, scores: Sequence[ScoreView]) -> PromptTree | None:
    """Return the tree of sorted scores, ``None`` if all are equal."""
    if scores[0].score == scores[-1].score:
        encoder.left_out["lists without an order"] += 1
        return None
    return encoder.tree(
        scores[0].prompt,
        [ResponseText(score.completion, score=score.score) for score in scores],
        weight=float(np.mean([score.weight for score in scores])),
    )


def _tier_groups(encoder: Encoder, ranking: RankingView) -> list[list[list[str]]]:
    """Return the tiers of each list that a ranking is split into, without long responses."""
    level: dict[str, int] = {}
    for index, tier in enumerate(ranking.tiers):
        for text in tier:
            level.setdefault(text, index)
    texts = [text for text in level if not encoder.leaves_out(ranking.prompt, [text])]
    count = math.ceil(len(texts) / MAX_RESPONSES)
    lists = []
    for i in range(count):
        tiers: dict[int, list[str]] = defaultdict(list)
        for text in texts[i::count]:
            tiers[level[text]].append(text)
        lists.append(list(tiers.values()))
    return lists


def _ranking_tree(
    encoder: Encoder, ranking: RankingView, tiers: Sequence[Sequence[str]]
) -> PromptTree | None:
    """Return the tree of tiers, ``None`` if there is only one."""
    if len(tiers) < 2:
        encoder.left_out["lists without an order"] += 1
        return None
    below = count = sum(map(len, tiers))
    texts = []
    for tier in tiers:
        below -= len(tier)
        texts += [ResponseText(text, score=below / (count - 1)) for text in tier]
    return encoder.tree(ranking.prompt, texts, weight=ranking.weight)


def drop_none(trees: Iterable[PromptTree | None]) -> list[PromptTree]:
    """Return the trees without ``None``, which stands for one that is too long."""
    return [tree for tree in trees if tree is not None]
