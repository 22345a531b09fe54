"""Check of what a memory would add to prompts: answers with and without each kind of entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from pydantic import JsonValue

from backtalk.feedback import Interaction
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.memory.lesson import KEYED_KINDS, Lesson
from backtalk.learn.prompt.signals import make_signal
from backtalk.memory import EntryKind, Memory, MemoryEntry, MemorySpec
from backtalk.memory.requests import request_text
from backtalk.models import Request
from backtalk.store import Store

if TYPE_CHECKING:
    from backtalk.embedders.registry import EmbedderName

MAX_CANDIDATES = 500
"""Maximum number of requests for which entries are recalled, to find those that they apply to."""
MAX_BACKGROUND = 2_000
"""Maximum number of other requests of the store, which scopes are compared with."""
MIN_REQUESTS = 5
"""Minimum number of requests that a kind of entry applies to, to judge it."""
LEVEL = 0.95
"""Level of the interval below zero from which on a kind of people's wishes is left out."""
_SEED = 23

Arm = tuple[EntryKind | None, int]
"""Kind of entries in the prompt, ``None`` for none, and index of the request."""


@dataclass(frozen=True)
class KindEffect:
    """Effect of a kind of entries on the score of answers."""

    requests: int
    """Number of requests that its entries apply to."""
    estimate: float
    """Mean difference of the score with and without them."""
    high: float
    """Upper limit of the interval of the mean."""

    def is_harmful(self, kind: EntryKind) -> bool:
        """Return true if the kind should be left out.

        What was said of single answers is left out if answers are worse on average. What people
        wish is left out only if the whole interval is below zero.
        """
        limit = self.estimate if kind in KEYED_KINDS else self.high
        return self.requests >= MIN_REQUESTS and limit < 0


@dataclass(frozen=True)
class EffectCheck:
    """Effects of the kinds of entries, and the kinds that make answers worse."""

    effects: Mapping[EntryKind, KindEffect]

    @property
    def harmful(self) -> frozenset[EntryKind]:
        """Kinds that make answers worse."""
        return frozenset(kind for kind, one in self.effects.items() if one.is_harmful(kind))

    @property
    def notes(self) -> dict[str, JsonValue]:
        """Effects for the lineage."""
        return {
            f"effect of entries of kind {kind}": (
                f"{one.estimate:+.3f} on {one.requests} requests"
                + (", left out" if kind in self.harmful else "")
            )
            for kind, one in self.effects.items()
        }


async def check_effect(
    context: MethodContext,
    lessons: Sequence[Lesson],
    *,
    count: int,
    embedder: EmbedderName,
    recall_limit: int,
) -> EffectCheck:
    """Estimate how each kind of entry changes the answers to requests of the training set.

    The policy's model answers each request once without a memory and once for each kind of entry
    that would be recalled, without the entries that were made from that request. The answers are
    scored by the feedback on the requests, as in prompt optimisation.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    lessons : sequence of Lesson
        Lessons that the memory would get.
    count : int
        Maximum number of requests for each kind of entry.
    embedder : {"hashed", "sentence"}
        Embedder of entries and requests.
    recall_limit : int
        Maximum number of entries in a prompt.

    Raises
    ------
    BacktalkError
        If nothing in the feedback tells better answers from worse.
    """
    signal = await make_signal(context, embedder=embedder, refine_critiques=False)
    cases = list(context.feedback.cases())
    candidates = _shuffled(cases, context.run.seed)
    requests = [case.interaction for case in islice(context.feedback.store.cases(), MAX_BACKGROUND)]
    by_id = {one.id: one for one in (*requests, *(case.interaction for case in cases))}
    recalled = await _recall([*by_id.values()], candidates, lessons, embedder, recall_limit)
    arms = _arms(recalled, count)
    if not arms:
        return EffectCheck({})
    prompts: list[Prompt] = [case.interaction.prompt for case in candidates]
    with context.run.task("checking entries", len(arms)):
        answers = await context.model().generate(
            [_request(context, prompts[index], recalled[index], kind) for kind, index in arms]
        )
    scores = await signal.score(
        [prompts[index] for _, index in arms], [answer.text for answer in answers]
    )
    by_arm = dict(zip(arms, map(float, scores), strict=True))
    differences: dict[EntryKind, list[float]] = {}
    for (kind, index), score in by_arm.items():
        if kind is not None:
            differences.setdefault(kind, []).append(score - by_arm[None, index])
    return EffectCheck({kind: _effect(values) for kind, values in sorted(differences.items())})


def _shuffled(cases: Sequence[Case], seed: int) -> list[Case]:
    """Return one case of each prompt in a random order, up to a maximum number."""
    by_prompt = {prompt_key(case.interaction.prompt): case for case in cases}
    order = np.random.default_rng([seed, _SEED]).permutation(len(by_prompt))
    ordered = list(by_prompt.values())
    return [ordered[i] for i in order[:MAX_CANDIDATES]]


def _arms(recalled: Sequence[Sequence[MemoryEntry]], count: int) -> list[Arm]:
    """Return the requests that each kind is tested on, and the same requests without entries."""
    by_kind: dict[EntryKind, list[int]] = {}
    for index, entries in enumerate(recalled):
        for kind in {entry.kind for entry in entries}:
            by_kind.setdefault(kind, []).append(index)
    tested: list[Arm] = [
        (kind, index) for kind, rows in sorted(by_kind.items()) for index in rows[:count]
    ]
    without: list[Arm] = [(None, index) for index in sorted({index for _, index in tested})]
    return [*without, *tested]


async def _recall(
    interactions: Sequence[Interaction],
    candidates: Sequence[Case],
    lessons: Sequence[Lesson],
    embedder: EmbedderName,
    recall_limit: int,
) -> list[list[MemoryEntry]]:
    """Return the entries that a new memory recalls for each case, without those made from it."""
    from backtalk.memory.recall import LoadedMemory  # noqa: PLC0415 - loads an embedder

    own: dict[str, set[str]] = {}
    for one in interactions:
        own.setdefault(prompt_key(one.prompt), set()).add(one.id)
    with Store(":memory:") as store:
        store.add(*interactions)
        entries = [lesson.entry("memory", lesson.key) for lesson in lessons]
        spec = MemorySpec(
            revision=Memory(store).add(entries), embedder=embedder, limit=recall_limit
        )
        memory = LoadedMemory(store, spec)
        results = []
        for case in candidates:
            prompt = case.interaction.prompt
            applying = await memory.applying(request_text(prompt), user=case.interaction.user)
            made_from = own[prompt_key(prompt)]
            results.append(
                [
                    entry
                    for entry in applying
                    if not (entry.interactions and {*entry.interactions} <= made_from)
                ]
            )
    return results


def _request(
    context: MethodContext, prompt: Prompt, entries: Sequence[MemoryEntry], kind: EntryKind | None
) -> Request:
    from backtalk.memory.recall import render  # noqa: PLC0415 - loads an embedder

    policy = context.policy
    texts = [render(entry) for entry in entries if entry.kind == kind]
    return Request(
        messages=policy.messages(prompt, remembered=texts),
        sampling=policy.decoder.base_sampling,
        seed=context.run.seed * 1_000 + _SEED,
    )


def _effect(values: Sequence[float]) -> KindEffect:
    from backtalk.stats import mean_interval  # noqa: PLC0415 - imports scipy

    mean = float(np.mean(values))
    if len(values) < MIN_REQUESTS:
        return KindEffect(len(values), mean, 1.0)
    if np.ptp(values) == 0:
        return KindEffect(len(values), mean, mean)
    interval = mean_interval(values, bounds=None, method="t", level=LEVEL)
    return KindEffect(len(values), mean, interval.high)
