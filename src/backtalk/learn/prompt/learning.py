"""Learning of a prompt by a method: split, signals, search, and the policy or the refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import JsonValue

from backtalk.errors import BacktalkError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import now
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.confirmation import MIN_CONFIRMATION
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.prompt.search import SearchResult, SearchSettings, search
from backtalk.learn.prompt.signals import FeedbackSignal, has_signal, make_signal
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Lineage, Policy
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.run import Run

if TYPE_CHECKING:
    from backtalk.embedders.registry import EmbedderName

MAX_EXAMPLES = 64
"""Default maximum number of prompts of a search."""
MAX_CONFIRMATION = 100
"""Default maximum number of prompts of a confirmation."""
CONFIRMATION_SHARE = 0.4
"""Share of a budget of calls that the confirmation may take."""
MIN_PROMPTS = 8
"""Number of prompts from which a search can be confirmed at all."""
ENOUGH_PROMPTS = FeedbackRequirement(
    f"{MIN_PROMPTS} different prompts", lambda feedback: len(feedback.prompts()) >= MIN_PROMPTS
)
JUDGEMENTS = FeedbackRequirement(
    "better and worse answers, edits, demonstrations or critiques, or the option -o judge=NAME",
    has_signal,
    definite=False,
)
MIN_OWN_SIGNAL = 30
"""Number of prompts with feedback from which a confirmation has a signal of its own."""

MakeProposers = Callable[[MethodContext, FeedbackSignal], Awaitable[Sequence[Proposer]]]
"""Function from the context and the signal of a search to its proposers."""


@dataclass(frozen=True)
class PromptSplit:
    """Prompts of a search, and others for its confirmation."""

    examples: list[Prompt]
    confirmation: list[Prompt]

    @property
    def confirmation_keys(self) -> set[str]:
        """Keys of the prompts of the confirmation."""
        return {prompt_key(prompt) for prompt in self.confirmation}


def split_prompts(
    feedback: TrainingSet,
    prompts: Sequence[Prompt],
    *,
    seed: int,
    examples: int = MAX_EXAMPLES,
    confirmation: int = MAX_CONFIRMATION,
) -> PromptSplit:
    """Return the prompts of a search and those of its confirmation, at most half of all.

    Prompts with feedback come first in both parts.

    Parameters
    ----------
    feedback : TrainingSet
        Feedback on the prompts.
    prompts : sequence of Prompt
        Distinct prompts.
    seed : int
        Seed of the split.
    examples, confirmation : int
        Maximum number of prompts of each part.

    Raises
    ------
    BacktalkError
        If there are fewer than eight prompts.
    """
    if len(prompts) < MIN_PROMPTS:
        raise BacktalkError(
            f"A search for a prompt needs {MIN_PROMPTS} different prompts to learn from; there are "
            f"{len(prompts)}",
            "Add interactions: half of the prompts confirm what is found with the other half",
        )
    judged = {prompt_key(case.interaction.prompt) for case in feedback.cases()}
    order = np.random.default_rng([seed, 29]).permutation(len(prompts))
    ranked = sorted(
        (prompts[i] for i in order), key=lambda prompt: prompt_key(prompt) not in judged
    )
    # Every other one, so that both parts have their share of the prompts with feedback.
    return PromptSplit(ranked[0::2][:examples], ranked[1::2][:confirmation])


async def learn_prompt(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    make_proposers: MakeProposers,
    *,
    method: str,
    options: Mapping[str, JsonValue],
    judge: str | None = None,
    only_judge: bool = False,
    embedder: EmbedderName = "hashed",
    settings: SearchSettings | None = None,
    examples: int = MAX_EXAMPLES,
    confirmation: int = MAX_CONFIRMATION,
    notes: Mapping[str, JsonValue] | None = None,
) -> Policy:
    """Return a policy with a prompt that is shown to be better.

    Half of the prompts, with their feedback, are split off before anything is learned. Neither the
    proposers nor the signal see them. They confirm the winner, by a signal of their own if they
    have enough feedback.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Feedback of any kind.
    run : Run
        Seed, budget and cache.
    make_proposers : MakeProposers
        Function that makes the proposers of the method.
    method : str
        Name of the method, for the lineage.
    options : Mapping[str, JsonValue]
        Options of the method, for the lineage.
    judge : str, optional
        Name of a judge.
    only_judge : bool, default False
        If true, the judge alone scores answers.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of learned rewards.
    settings : SearchSettings, optional
        Settings of the search.
    examples : int, default 64
        Maximum number of prompts of the search.
    confirmation : int, default 100
        Maximum number of prompts of the confirmation.
    notes : Mapping[str, JsonValue], optional
        Notes of the method for the lineage, which its proposers may still extend.

    Raises
    ------
    NoImprovement
        If no candidate is shown to be better than the prompt of the policy.
    BacktalkError
        If there are too few prompts, or nothing tells better answers from worse.
    """
    whole = MethodContext(policy, feedback, run)
    split = split_prompts(
        feedback, whole.prompts(), seed=run.seed, examples=examples, confirmation=confirmation
    )
    others = {prompt_key(prompt) for prompt in whole.prompts()} - split.confirmation_keys
    context = replace(whole, feedback=feedback.on_prompts(others))

    def signal_of(one: MethodContext) -> Awaitable[FeedbackSignal]:
        return make_signal(one, judge=judge, only_judge=only_judge, embedder=embedder)

    signal = await signal_of(context)
    result = await search(
        context,
        signal,
        await make_proposers(context, signal),
        examples=split.examples,
        confirmation=split.confirmation,
        reserved=affordable_confirmation(run, settings),
        confirmation_signal=await confirmation_signal(whole, split, signal_of),
        settings=settings,
    )
    if not result.improved:
        raise no_improvement(result)
    # The signal of the confirmation was fitted to feedback of the snapshot, so that the gate
    # refuses it as well.
    lineage = Lineage(
        method=method,
        parent=policy.id,
        options=dict(options),
        seed=run.seed,
        snapshot=feedback.snapshot,
        rewards=distinct_rewards(whole),
        time=now(),
        notes={**result_notes(result, signal.weights, feedback), **(notes or {})},
    )
    return result.best.apply(policy, lineage)


def affordable_confirmation(run: Run, settings: SearchSettings | None) -> int | None:
    """Return the number of prompts of a confirmation that takes its share of a budget of calls."""
    if run.budget.calls is None:
        return None
    repeats = 1 if settings is None else settings.repeats
    return max(MIN_CONFIRMATION, int(CONFIRMATION_SHARE * run.budget.calls) // (2 * repeats))


async def confirmation_signal(
    whole: MethodContext,
    split: PromptSplit,
    signal_of: Callable[[MethodContext], Awaitable[FeedbackSignal]],
) -> FeedbackSignal:
    """Return the signal of the confirmation: by its own feedback, or by all if that is little.

    Parameters
    ----------
    whole : MethodContext
        Context with all feedback.
    split : PromptSplit
        Prompts of the search and of the confirmation.
    signal_of : Callable[[MethodContext], Awaitable[FeedbackSignal]]
        Function that makes a signal of the feedback of a context.
    """
    own = whole.feedback.on_prompts(split.confirmation_keys)
    judged = {prompt_key(case.interaction.prompt) for case in own.cases()}
    if len(judged) >= MIN_OWN_SIGNAL:
        with suppress(BacktalkError):
            return await signal_of(replace(whole, feedback=own))
    return await signal_of(whole)


def distinct_rewards(context: MethodContext) -> tuple[JudgeInfo, ...]:
    """Return the rewards and judges that a method used, each once."""
    rewards = context.rewards
    return tuple(one for index, one in enumerate(rewards) if one not in rewards[:index])


def result_notes(
    result: SearchResult, weights: Mapping[str, float], feedback: TrainingSet
) -> dict[str, JsonValue]:
    """Return the notes of a lineage on a search.

    Parameters
    ----------
    result : SearchResult
        Result of the search.
    weights : Mapping[str, float]
        Weight of each part of the signal.
    feedback : TrainingSet
        Feedback, for what was left out.
    """
    winner = result.trials[result.winner].candidate
    confirmed = {} if result.confirmation is None else result.confirmation.to_dict()
    return {
        "change": f"{winner.proposer}: {winner.note}" if winner.note else winner.proposer,
        **confirmed,
        "candidates": len(result.trials) - 1,
        "accepted in the search": sum(trial.accepted for trial in result.trials),
        "answers": result.answers,
        "stopped": result.stopped,
        **{f"signal: {name}": round(weight, 3) for name, weight in weights.items()},
        **{f"left out: {reason}": count for reason, count in feedback.left_out.items()},
    }


def no_improvement(result: SearchResult) -> NoImprovement:
    """Return the error that says that no better prompt was found, with the figures."""
    count = len(result.trials) - 1
    tried = f"{count} {'candidate' if count == 1 else 'candidates'}"
    if result.confirmation is None:
        what = f"No better prompt was found among {tried}; {result.stopped}"
    else:
        estimate = result.confirmation
        prompts = estimate.gain.clusters or estimate.gain.n
        what = (
            f"No better prompt was found: the best of {tried} gained {estimate.search_gain:+.3f} "
            f"on the prompts of the search, and {estimate.gain.value:+.3f} on {prompts} new ones, "
            f"at least {estimate.gain.low:+.3f}"
        )
    budget = "budget" in result.stopped
    if not count and not budget:
        return NoImprovement(
            f"No prompt was proposed; {result.stopped}",
            "The policy stays as it is. Collect more feedback, or let a model that can write "
            "prompts do so, where the method has the option writer",
        )
    return NoImprovement(
        what,
        "The policy stays as it is. "
        + (
            "Run it again with a larger budget; it pays for no call twice"
            if budget
            else "Collect more feedback, or learn in another place: `backtalk methods` lists what "
            "can run"
        ),
    )
