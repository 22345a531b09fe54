"""Criteria of critiques: what people repeatedly say about answers, as a judgement of new ones.

Critiques of one criterion are worded alike. An answer that was criticised for one thing and not for
another is a good example of the other, so that critiques alone tell apart answers, although all of
them are about bad ones.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import content_id
from backtalk.feedback.views import ScoreView
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.known_feedback import KnownFeedback
from backtalk.learn.prompt.protocol import TextFeedback
from backtalk.rewards.judge_info import JudgeInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtalk.embedders.registry import EmbedderName
    from backtalk.feedback.snapshot import Snapshot
    from backtalk.rewards import RewardFit

MIN_CRITIQUES = 5
"""Number of critiques from which a criterion is learned."""
_DISTANCE = 0.6
"""Cosine distance of the words of two critiques up to which they are of one criterion."""
_LETTERS = r"[^\W\d]+"
_MAX_CRITERIA = 12
_MAX_CLUSTERED = 2_000
"""Number of different texts that are clustered; the most frequent ones."""


@dataclass(frozen=True)
class Criterion:
    """Group of critiques that say the same."""

    text: str
    """Most frequent wording."""
    examples: tuple[TextFeedback, ...]
    """Answers with the critiques."""

    @property
    def wordings(self) -> Counter[str]:
        """Number of critiques by wording."""
        return Counter(item.text for item in self.examples)


@dataclass
class CriteriaPart:
    """Mean probability that an answer meets the criteria, weighted by their frequency."""

    criteria: Sequence[Criterion]
    fits: Sequence[RewardFit]
    """Reward of each criterion."""
    name: str = "criteria of critiques"

    @property
    def accuracy(self) -> float:
        """Probability that the criteria tell a criticised answer from another, cross-validated."""
        values = [fit.reward.concordance for fit in self.fits]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else 0.5

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> NDArray[np.float64]:
        """Return the score of each answer, in [0, 1]."""
        texts = list(zip(prompts, answers, strict=True))
        rows = [(await fit.reward.score(texts)).mean for fit in self.fits]
        sizes = np.array([len(criterion.examples) for criterion in self.criteria], dtype=float)
        met = 1 / (1 + np.exp(-np.clip(np.array(rows), -40, 40)))
        return np.asarray((sizes / sizes.sum()) @ met)


async def criteria_part(
    context: MethodContext, known: KnownFeedback, embedder: EmbedderName
) -> CriteriaPart | None:
    """Return the part of the critiques; ``None`` if they have no two criteria to tell apart.

    Parameters
    ----------
    context : MethodContext
        Run, and the rewards to record.
    known : KnownFeedback
        Critiques.
    embedder : {"hashed", "sentence"}
        Embedder of the rewards.
    """
    examples = known.reviews
    criteria = [one for one in await find_criteria(examples) if len(one.examples) >= MIN_CRITIQUES][
        :_MAX_CRITERIA
    ]
    pairs = []
    for criterion in criteria:
        fit = await fit_criterion(criterion, examples, embedder, seed=context.run.seed)
        if fit is not None and (fit.reward.concordance or 0) > 0.5:
            pairs.append((criterion, fit))
    if not pairs:
        return None
    context.rewards.append(JudgeInfo(name="criteria of critiques", kind="other"))
    return CriteriaPart([pair[0] for pair in pairs], [pair[1] for pair in pairs])


async def find_criteria(
    examples: Sequence[TextFeedback], *, general: bool = False
) -> list[Criterion]:
    """Return the criteria of critiques, the most frequent one first.

    Parameters
    ----------
    examples : sequence of TextFeedback
        Answers with critiques.
    general : bool, default False
        If true, words of the request or the answer do not count: "Add jam." and "Add tea." are of
        one criterion, "Add …".
    """
    wordings = [_general(item) if general else item.text for item in examples]
    counts = Counter(text for text in wordings if text.strip())
    texts = [text for text, _ in counts.most_common(_MAX_CLUSTERED)]
    labels = dict(zip(texts, await asyncio.to_thread(_cluster, texts), strict=True))
    groups: dict[int, list[tuple[str, TextFeedback]]] = {}
    for text, item in zip(wordings, examples, strict=True):
        if text in labels:
            groups.setdefault(labels[text], []).append((text, item))
    criteria = [
        Criterion(_name(group), tuple(item for _, item in group)) for group in groups.values()
    ]
    return sorted(criteria, key=lambda one: len(one.examples), reverse=True)


def _name(group: Sequence[tuple[str, TextFeedback]]) -> str:
    """Return the wording that half of the critiques have, or else the most frequent general one."""
    ((wording, times),) = Counter(item.text for _, item in group).most_common(1)
    if 2 * times >= len(group):
        return wording
    return Counter(text for text, _ in group).most_common(1)[0][0]


def _general(item: TextFeedback) -> str:
    """Return a critique with an ellipsis for the words of its request and its answer."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # noqa: PLC0415 - slow to import

    own = {
        word.lower()
        for text in (item.answer, *(message.text for message in item.prompt))
        for word in re.findall(_LETTERS, text)
    } - ENGLISH_STOP_WORDS
    text = re.sub(_LETTERS, lambda word: "…" if word[0].lower() in own else word[0], item.text)
    return re.sub(r"…(?:[\s,]+…)+", "…", text)


def _cluster(texts: Sequence[str]) -> list[int]:
    """Return the number of the cluster of each text, by its words without the numbers."""
    if len(texts) < 2:
        return list(range(len(texts)))
    from sklearn.cluster import AgglomerativeClustering  # noqa: PLC0415 - slow to import
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - slow to import

    vectors = TfidfVectorizer(
        ngram_range=(1, 2), token_pattern=_LETTERS, sublinear_tf=True
    ).fit_transform(texts)
    clustering = AgglomerativeClustering(
        None, metric="cosine", linkage="average", distance_threshold=_DISTANCE
    )
    rows = vectors.toarray()
    # The cosine of a text without words is undefined; such texts are a cluster of their own.
    empty = ~rows.any(axis=1)
    labels = np.full(len(texts), -1)
    if (~empty).sum() > 1:
        labels[~empty] = clustering.fit_predict(rows[~empty])
    return [int(label) for label in labels]


async def fit_criterion(
    criterion: Criterion,
    examples: Sequence[TextFeedback],
    embedder: EmbedderName,
    *,
    seed: int,
    fitted_on: Snapshot | None = None,
    title: str | None = None,
) -> RewardFit | None:
    """Return a reward that tells answers without a critique of a criterion from those with one.

    Parameters
    ----------
    criterion : Criterion
        Criterion.
    examples : sequence of TextFeedback
        All answers with critiques; ``None`` is returned if all are of the criterion.
    embedder : {"hashed", "sentence"}
        Embedder of the reward.
    seed : int
        Seed of the folds of the calibration.
    fitted_on : Snapshot, optional
        Feedback that the examples are from.
    title : str, optional
        Name under which the reward is found.
    """
    from backtalk.embedders.registry import REWARD_DIMENSION, get_embedder  # noqa: PLC0415
    from backtalk.rewards import learn_reward  # noqa: PLC0415 - slow to import

    bad = {_key(item) for item in criterion.examples}
    others = [item for item in examples if _key(item) not in bad]
    if not others:
        return None
    points = [
        ScoreView(prompt=item.prompt, completion=item.answer, score=score)
        for score, items in ((0.0, criterion.examples), (1.0, others))
        for item in items
    ]
    texts = [text for point in points for text in (point.completion, point.prompt[-1].text)]
    fitted = get_embedder(embedder, texts, dimension=REWARD_DIMENSION)
    return await learn_reward(
        [], fitted, points=points, seed=seed, fitted_on=fitted_on, title=title
    )


def _key(item: TextFeedback) -> str:
    return content_id(*(message.text for message in item.prompt), item.answer)
