"""Accuracy of policies with local models on a store's preferences, held out from learning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.evaluate.preference_accuracy import (
    PairLogProbs,
    PreferenceAccuracy,
    measure_preferences,
)
from backtalk.feedback.requests import stored_prompt_key
from backtalk.feedback.views import Pair
from backtalk.learn.log_likelihood import token_log_likelihoods
from backtalk.learn.method import METHODS
from backtalk.learn.training_set import Split, TrainingSet
from backtalk.models import PromptResponse, Scorer, load_model
from backtalk.policy import LoadedPolicy, Policy, load_policy, read_policy
from backtalk.policy.learned_prompts import learned_prompts
from backtalk.run import Run
from backtalk.store import Store

_DEFAULT_BETA = 0.1
_WITHOUT_LOG_PROBABILITIES = frozenset({"endpoint", "replay"})
"""Kinds of models that cannot score an answer, refused before anything is read."""
_CHUNK = 256
_LEARNED = "on prompts that a policy learned from"


async def held_out_preferences(
    policy: Policy,
    store: Store,
    *,
    run: Run,
    against: Policy | None = None,
    reference: Policy | None = None,
    beta: float | None = None,
    split: Split = "held-out",
    aspect: str = "overall",
    limit: int | None = None,
    level: float = 0.95,
) -> PreferenceAccuracy:
    """Measure how often a policy's log-probabilities rank the preferred answer higher.

    The pairs are those that methods train on: preferences, and rankings, ratings, labels, edits
    and outcomes that differ. Human ties are left out, and so are answers of several messages. The
    decoder has no part in it: the answers have the probabilities of one sample at temperature 1.

    Parameters
    ----------
    policy : Policy
        Policy with a local model.
    store : Store
        Store of the project.
    run : Run
        Seed and progress of the run.
    against : Policy, optional
        Policy to compare with on the same pairs.
    reference : Policy, optional
        Reference of the implicit reward. Default: the reference of each policy's training, or else
        the policy that it was made from, if its model is local.
    beta : float, optional
        Factor of the implicit reward. Default: that of the training, or 0.1.
    split : {"held-out", "train", "all"}, default "held-out"
        Split of the prompts. With ``"held-out"``, pairs on prompts that a policy learned from
        nevertheless are left out; otherwise they are counted in ``learned_from``.
    aspect : str, default "overall"
        Aspect of the judgements.
    limit : int, optional
        Maximum number of prompts, drawn by the seed.
    level : float, default 0.95
        Nominal coverage of the intervals.

    Raises
    ------
    BacktalkError
        If a policy has no log-probabilities, or there is no pair that nobody learned from.
    """
    policies = [policy] if against is None else [policy, against]
    for one in [*policies, *([] if reference is None else [reference])]:
        if one.model.kind in _WITHOUT_LOG_PROBABILITIES:
            raise _no_log_probabilities(one)
    feedback = TrainingSet(store, split=split, aspect=aspect).plain_texts()
    feedback = feedback.limited(limit, seed=run.seed, needs=[Pair])
    with run.task("reading feedback") as progress:
        by_kind = feedback.by_kind(Pair, progress=progress)
    rows = [(kind, pair) for kind, pairs in by_kind.items() for pair in pairs]
    left_out: Counter[str] = Counter(feedback.left_out)
    usable = [(kind, pair) for kind, pair in rows if not pair.tie and pair.chosen != pair.rejected]
    left_out["ties, or of equal answers"] += len(rows) - len(usable)
    learned, unknown = learned_prompts(policies, store, [_key(pair) for _, pair in usable])
    counted = usable
    if split == "held-out":
        counted = [row for row in usable if _key(row[1]) not in learned]
        left_out[_LEARNED] += len(usable) - len(counted)
    if not counted:
        raise _no_pairs(policy, split, len(usable))

    pairs = [pair for _, pair in counted]
    references = [reference or _reference(one, store) for one in policies]
    results: list[PairLogProbs] = []
    for one, base in zip(policies, references, strict=True):
        loaded = load_policy(one, store.artifacts, store=store, prompts=[p.prompt for p in pairs])
        messages, _ = await loaded.messages([pair.prompt for pair in pairs], seed=run.seed)
        texts = [
            (prompt, text)
            for prompt, pair in zip(messages, pairs, strict=True)
            for text in (pair.chosen, pair.rejected)
        ]
        results.append(await _log_probs(_scorer(loaded), texts, run, one.label))
        if base is not None:
            scorer = _scorer_of(base, store)
            results.append(await _log_probs(scorer, texts, run, f"reference {base.label}"))
    fits = np.all([np.isfinite(one.chosen) & np.isfinite(one.rejected) for one in results], axis=0)
    left_out["too long, or changed by the chat template"] += int(np.count_nonzero(~fits))
    if not fits.any():
        raise BacktalkError(
            f"None of the {len(pairs):,} pairs can be tokenised for {policy.label}",
            "`backtalk preflight` with its training method says why",
        )
    columns = iter([one.select(fits) for one in results])
    scored = [(next(columns), next(columns) if base is not None else None) for base in references]
    other, other_reference = scored[1] if against is not None else (None, None)
    keys = [_key(pair) for pair, fit in zip(pairs, fits.tolist(), strict=True) if fit]
    result = measure_preferences(
        scored[0][0],
        keys,
        kinds=[kind for (kind, _), fit in zip(counted, fits.tolist(), strict=True) if fit],
        reference=scored[0][1],
        against=other,
        against_reference=other_reference,
        beta=_beta(policy) if beta is None else beta,
        level=level,
    )
    ids = [None if base is None else base.id for base in references]
    return replace(
        result,
        policy=policy.id,
        against=None if against is None else against.id,
        reference=ids[0],
        against_reference=None if against is None else ids[1],
        split=split,
        learned_from=sum(key in learned for key in keys),
        left_out={reason: count for reason, count in left_out.items() if count},
        unknown=tuple(unknown),
    )


def _key(pair: Pair) -> str:
    return stored_prompt_key(pair.prompt)


def _no_pairs(policy: Policy, split: str, usable: int) -> BacktalkError:
    if usable:
        return BacktalkError(
            f"All {usable:,} held-out pairs are on prompts that {policy.label}, a policy that it "
            "was made from or the other policy learned from, so that none is held out",
            "Train with --split train, collect preferences on new prompts, or pass --split all to "
            "see the accuracy on known pairs",
        )
    return BacktalkError(
        f"There is no {'' if split == 'all' else split + ' '}pair of answers of which one is "
        "preferred",
        "Collect preferences: a fifth of all prompts is held out from learning",
    )


def _beta(policy: Policy) -> float:
    """Return the beta of a policy's training, or 0.1 if its method has none."""
    lineage = policy.lineage
    value = lineage.options.get("beta")
    if value is None and lineage.method in METHODS:
        value = METHODS.get(lineage.method).options.get("beta")
    return float(value) if isinstance(value, (int, float)) else _DEFAULT_BETA


def _reference(policy: Policy, store: Store) -> Policy | None:
    """Return the reference of a policy's training, or its parent, if its model is local."""
    lineage = policy.lineage
    name = lineage.options.get("reference") or lineage.parent
    if not isinstance(name, str):
        return None
    reference = read_policy(store, name)
    return reference if reference.model.kind == "local" else None


def _scorer(loaded: LoadedPolicy) -> Scorer:
    if not isinstance(loaded.model, Scorer):
        raise _no_log_probabilities(loaded.policy)
    return loaded.model


def _scorer_of(policy: Policy, store: Store) -> Scorer:
    model = load_model(policy.model, store.artifacts)
    if not isinstance(model, Scorer):
        raise _no_log_probabilities(policy)
    return model


def _no_log_probabilities(policy: Policy) -> BacktalkError:
    return BacktalkError(
        f"{policy.label} has no log-probabilities of answers: its model is of the kind "
        f"{policy.model.kind!r}",
        "Name a policy with a local model; `backtalk evaluate` with --judge compares the answers "
        "of all others",
    )


async def _log_probs(
    model: Scorer, texts: Sequence[PromptResponse], run: Run, label: str
) -> PairLogProbs:
    """Return the log-probabilities of pairs, NaN for an answer that cannot be tokenised."""
    sums, counts = np.full(len(texts), np.nan), np.ones(len(texts), dtype=np.int64)
    with run.task(f"log-probabilities of {label}", len(texts)) as step:
        for start in range(0, len(texts), _CHUNK):
            scores = await token_log_likelihoods(model, texts[start : start + _CHUNK])
            for row, tokens in enumerate(scores, start):
                if tokens is not None:
                    sums[row], counts[row] = tokens.sum(), max(len(tokens), 1)
            step(start + len(scores))
    return PairLogProbs(sums[::2], sums[1::2], counts[::2], counts[1::2])
