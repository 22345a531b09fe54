"""Effects of techniques on each request, estimated from answers to random compositions.

All compositions of ten techniques are a thousand. Each answer here is to a random third of the
techniques, and a ridge regression finds the effect of each one, and how it depends on the request.
The predicted score of any composition follows, for any request, as a linear function of the
request's vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.feedback.interaction import Prompt
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.compositions.kinds import RequestKinds
from backtalk.learn.prompt.compositions.techniques import Technique, compose
from backtalk.learn.prompt.from_feedback.screening import regress
from backtalk.learn.prompt.protocol import Evaluate, PromptCandidate
from backtalk.models.protocol import Embedder
from backtalk.policy.prompt_selector import PromptSelector, request_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SHARE = 1 / 3
"""Share of the techniques of a composition."""
_FIRST_SHARE = 0.4
"""Share of the answers by which harmful techniques are dropped."""
_ALPHAS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Strengths of the ridge, of which cross-validation chooses one."""
MAX_CHOICES = 16
"""Maximum number of compositions of a policy."""


@dataclass(frozen=True)
class EffectModel:
    """Effect of each of ``t`` techniques: ``a_j + w_j x`` for a request with the vector ``x``."""

    embedder: Embedder
    """Embedder of requests."""
    weights: Floats
    """Dependence on the request, shape ``(d, t)``."""
    means: Floats
    """Effects at ``x = 0``, shape ``(t,)``."""

    async def predict(self, prompts: Sequence[Prompt]) -> Floats:
        """Return the effect of each technique on each request, shape ``(n, t)``."""
        vectors = await self.embedder.embed([request_text(prompt) for prompt in prompts])
        return np.asarray(vectors @ self.weights + self.means)

    def selector(self, choices: Sequence[tuple[bool, ...]]) -> PromptSelector:
        """Return the selector of compositions, each with the techniques that are true."""
        design = np.array(choices, dtype=float).T
        return PromptSelector(self.embedder, self.weights @ design, self.means @ design)


@dataclass(frozen=True)
class Answers:
    """Scores of answers to random compositions."""

    design: Floats
    """One where the prompt of an answer has a technique, and zero elsewhere, shape ``(n, t)``."""
    examples: list[int]
    """Index of each request."""
    gains: Floats
    """Scores less those of the same request without techniques, shape ``(n,)``."""


async def measure_effects(
    base: PromptCandidate,
    techniques: Sequence[Technique],
    examples: Sequence[Prompt],
    evaluate: Evaluate,
    kinds: RequestKinds,
    *,
    answers: int,
    rng: np.random.Generator,
) -> tuple[list[Technique], EffectModel]:
    """Return the techniques that may help, and their effects on requests.

    Two fifths of the answers drop techniques that harm requests of every kind, which would hide the
    effects of the others.

    Parameters
    ----------
    base : PromptCandidate
        Prompt without the techniques.
    techniques : sequence of Technique
        Techniques.
    examples : sequence of Prompt
        Requests to answer.
    evaluate : Evaluate
        Evaluation of prompts on the examples.
    kinds : RequestKinds
        Kinds of requests, and their embedder.
    answers : int
        Number of answers to random compositions; each is compared with an answer to the base.
    rng : numpy.random.Generator
        Source of the compositions.
    """
    first = round(_FIRST_SHARE * answers)
    labels = await kinds.of(examples)
    screened = await _answer(base, techniques, labels, evaluate, count=first, rng=rng)
    promising = _promising(screened, np.array([labels[index] for index in screened.examples]))
    rest = [techniques[i] for i in promising]
    if not rest:
        return [], EffectModel(kinds.embedder, np.zeros((kinds.centers.shape[1], 0)), np.zeros(0))
    later = await _answer(base, rest, labels, evaluate, count=answers - first, rng=rng)
    dropped = np.setdiff1d(np.arange(len(techniques)), promising)
    clean = screened.design[:, dropped].sum(axis=1) == 0
    indices = [*(i for i, on in zip(screened.examples, clean, strict=True) if on), *later.examples]
    vectors = await kinds.embedder.embed([request_text(examples[index]) for index in indices])
    weights, means = fit_effects(
        np.vstack([screened.design[clean][:, promising], later.design]),
        np.asarray(vectors, dtype=float),
        np.concatenate([screened.gains[clean], later.gains]),
        kinds.centers,
    )
    return rest, EffectModel(kinds.embedder, weights, means)


async def _answer(
    base: PromptCandidate,
    techniques: Sequence[Technique],
    labels: Sequence[int],
    evaluate: Evaluate,
    *,
    count: int,
    rng: np.random.Generator,
) -> Answers:
    """Return the scores of answers to random compositions, of requests of kinds."""
    design = rng.random((count, len(techniques))) < _SHARE
    order = [int(i) for i in rng.permutation(len(labels))]
    indices = [order[row % len(order)] for row in range(count)]
    jobs = [
        (compose(base, [t for t, on in zip(techniques, row, strict=True) if on], labels[i]), i)
        for row, i in zip(design, indices, strict=True)
    ]
    scores = [score for _, score in await evaluate([*jobs, *((base, i) for i in order)])]
    before = dict(zip(order, scores[count:], strict=True))
    gains = np.array(scores[:count]) - np.array([before[index] for index in indices])
    return Answers(design.astype(float), indices, gains)


def _promising(answers: Answers, labels: NDArray[np.intp]) -> list[int]:
    """Return the indices of the techniques that are not shown to harm requests of every kind."""
    hopeful = np.zeros(answers.design.shape[1], dtype=bool)
    for label in np.unique(labels):
        values, errors = regress(answers.design[labels == label], answers.gains[labels == label])
        hopeful |= values > -errors
    return [int(i) for i in np.flatnonzero(hopeful)]


def fit_effects(
    design: Floats, vectors: Floats, gains: Floats, centers: Floats
) -> tuple[Floats, Floats]:
    """Return the dependence of effects on the request, shape ``(d, t)``, and effects at 0.

    Effects depend on the position of a request between the means of the kinds. The mean effects
    have columns of their own, so that the ridge takes back what depends on the request first:
    without evidence, all requests get the same composition.

    Parameters
    ----------
    design : numpy.ndarray, shape (n, t)
        One where an answer's prompt has a technique, and zero elsewhere.
    vectors : numpy.ndarray, shape (n, d)
        Vectors of the requests.
    gains : numpy.ndarray, shape (n,)
        Scores less those of the same request without techniques.
    centers : numpy.ndarray, shape (kinds, d)
        Mean vector of each kind.
    """
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415 - slow to import

    center = vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centers - centers.mean(axis=0), full_matrices=False)
    axes = axes[values > 1e-9]
    components = (vectors - center) @ axes.T
    scale = np.maximum(components.std(axis=0), 1e-9)
    rows = components / scale
    products = (design[:, :, None] * rows[:, None, :]).reshape(len(design), -1)
    columns = np.hstack([_MAIN * design, products])
    model = RidgeCV(_ALPHAS, fit_intercept=False).fit(columns, gains)
    main, rest = np.split(model.coef_, [design.shape[1]])
    loadings = axes.T @ (rest.reshape(design.shape[1], len(axes)) / scale).T
    return loadings, _MAIN * main - center @ loadings


_MAIN = 3.0
"""Factor on the columns of mean effects, which the ridge shrinks less by its square."""


def choose_compositions(effects: Floats, most: int = MAX_CHOICES) -> list[tuple[bool, ...]]:
    """Return the compositions that are best for some request, the one that suits most first.

    The first is the best single one for all requests together. Those that are best for the most
    requests follow; a composition has the techniques with a positive effect.

    Parameters
    ----------
    effects : numpy.ndarray, shape (n, t)
        Predicted effect of each technique on each request.
    most : int, default 16
        Maximum number of compositions.
    """
    if not effects.shape[1]:
        return [()]
    fixed = tuple(bool(on) for on in effects.mean(axis=0) > 0)
    rows, counts = np.unique(effects > 0, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    own = [tuple(bool(on) for on in rows[i]) for i in order]
    return list(dict.fromkeys([fixed, *own]))[:most]


async def select_compositions(
    base: PromptCandidate,
    techniques: Sequence[Technique],
    model: EffectModel,
    kinds: RequestKinds,
    examples: Sequence[Prompt],
    *,
    proposer: str,
) -> tuple[list[PromptCandidate], PromptSelector]:
    """Return the compositions for the kinds of requests, with their selector.

    With several kinds, the first composition is the best one for all requests: it has the
    techniques that are the same for all kinds, and is never selected.

    Parameters
    ----------
    base : PromptCandidate
        Prompt without techniques.
    techniques : sequence of Technique
        Techniques.
    model : EffectModel
        Effects of the techniques.
    kinds : RequestKinds
        Kinds of requests.
    examples : sequence of Prompt
        Requests.
    proposer : str
        Name of the proposer.
    """

    def prompt(choice: Sequence[bool], kind: int = 0) -> PromptCandidate:
        chosen = [one for one, on in zip(techniques, choice, strict=True) if on]
        return compose(base, chosen, kind, proposer=proposer)

    effects = await model.predict(examples)
    count = len(kinds.centers)
    if count == 1:
        choices = choose_compositions(effects)
        return [prompt(choice) for choice in choices], model.selector(choices)
    labels = np.array(await kinds.of(examples))
    pairs = [
        (kind, choice)
        for kind in range(count)
        for choice in choose_compositions(effects[labels == kind], max(1, MAX_CHOICES // count))
    ]
    of_all = np.array([not one.variants for one in techniques], dtype=bool)
    single = prompt((effects.mean(axis=0) > 0) & of_all)
    within = model.selector([choice for _, choice in pairs])
    nearest, rows = kinds.nearest(), [kind for kind, _ in pairs]
    selector = PromptSelector(
        kinds.embedder,
        within.weights + _KIND_FIRST * nearest.weights[:, rows],
        within.intercept + _KIND_FIRST * nearest.intercept[rows],
    )
    return [single, *(prompt(choice, kind) for kind, choice in pairs)], selector.with_unused_first()


_KIND_FIRST = 1e4
"""Factor on the closeness to a kind, so that effects decide among the compositions of a kind."""
