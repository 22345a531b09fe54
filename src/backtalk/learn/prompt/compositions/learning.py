"""Learning of a policy with several prompts: split, design, confirmation, policy or refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import JsonValue

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.record import now
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.prompt.evaluation import Evaluator
from backtalk.learn.prompt.learning import (
    affordable_confirmation,
    confirmation_signal,
    distinct_rewards,
    split_prompts,
)
from backtalk.learn.prompt.protocol import PromptCandidate
from backtalk.learn.prompt.signals import FeedbackSignal, make_signal
from backtalk.learn.prompt.writer import PromptWriter, make_writer
from backtalk.learn.training_set import TrainingSet
from backtalk.models import BudgetExceeded
from backtalk.policy import Composition, Lineage, Policy, PromptCompositions
from backtalk.policy.prompt_selector import PromptSelector
from backtalk.run import Run

if TYPE_CHECKING:
    from backtalk.embedders.registry import EmbedderName
    from backtalk.stats.search_gate import Confirmation


@dataclass(frozen=True)
class Design:
    """Feedback, requests and tools with which compositions are made."""

    context: MethodContext
    """Policy, feedback without that of the confirmation, and run."""
    signal: FeedbackSignal
    examples: Sequence[Prompt]
    """Requests that may be answered."""
    evaluator: Evaluator
    writer: PromptWriter
    rng: np.random.Generator

    @property
    def base(self) -> PromptCandidate:
        """Prompt of the policy."""
        return PromptCandidate.of(self.context.policy)


@dataclass(frozen=True)
class SelectedPrompts:
    """Prompts with the model that selects one for each request."""

    candidates: list[PromptCandidate]
    """Prompts; the first is the best one for all requests."""
    selector: PromptSelector
    """Selector among them, in their order."""
    notes: Mapping[str, JsonValue]
    """Results for the lineage."""


_OVER_SINGLE = "gain over one prompt for all requests"

MakePrompts = Callable[[Design], Awaitable[SelectedPrompts]]
"""Function that makes prompts and their selector from a design."""


@dataclass(frozen=True)
class CompositionSettings:
    """Settings of the learning of several prompts."""

    examples: int
    """Maximum number of requests of the design."""
    confirmation: int
    """Maximum number of other requests, which confirm the result."""
    level: float
    """Probability that no improvement is reported if there is none."""
    explore: float
    """Probability with which the policy shows another composition in use."""
    judge: str | None = None
    writer: str | None = None
    embedder: EmbedderName = "hashed"


async def learn_compositions(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    make: MakePrompts,
    *,
    method: str,
    options: Mapping[str, JsonValue],
    settings: CompositionSettings,
) -> Policy:
    """Return a policy that selects its prompt for each request, and is shown to be better.

    Half of the prompts, with their feedback, are split off before anything is learned; they compare
    the result with the policy as it is, and with the best single prompt.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Feedback of any kind.
    run : Run
        Seed, budget and cache.
    make : MakePrompts
        Function that makes the prompts.
    method : str
        Name of the method, for the lineage.
    options : Mapping[str, JsonValue]
        Options of the method, for the lineage.
    settings : CompositionSettings
        Settings.

    Raises
    ------
    NoImprovement
        If the result is not shown to be better.
    BacktalkError
        If there are too few prompts, or nothing tells better answers from worse.
    """
    whole = MethodContext(policy, feedback, run)
    split = split_prompts(
        feedback,
        whole.prompts(),
        seed=run.seed,
        examples=settings.examples,
        confirmation=settings.confirmation,
    )
    others = {prompt_key(prompt) for prompt in whole.prompts()} - split.confirmation_keys
    context = replace(whole, feedback=feedback.on_prompts(others))

    def signal_of(one: MethodContext) -> Awaitable[FeedbackSignal]:
        return make_signal(one, judge=settings.judge, embedder=settings.embedder)

    signal = await signal_of(context)
    design = Design(
        context,
        signal,
        split.examples,
        Evaluator(context, signal, split.examples, seed=1),
        make_writer(context, settings.writer),
        np.random.default_rng([run.seed, 41]),
    )
    try:
        prompts = await make(design)
        limit = affordable_confirmation(run, None)
        checked = split.confirmation[: None if limit is None else -(-2 * limit // 3)]
        checker = Evaluator(
            context, await confirmation_signal(whole, split, signal_of), checked, seed=2
        )
        confirmation, notes = await _confirm(design, prompts, checker, level=settings.level)
    except BudgetExceeded:
        raise _budget_ended() from None
    if not confirmation.improved:
        raise _no_improvement(prompts, confirmation)
    lineage = Lineage(
        method=method,
        parent=policy.id,
        options=dict(options),
        seed=run.seed,
        snapshot=feedback.snapshot,
        rewards=distinct_rewards(whole),
        time=now(),
        notes={**prompts.notes, **confirmation.to_dict(), **notes},
    )
    return _apply(policy, prompts, feedback, lineage, explore=settings.explore)


async def _confirm(
    design: Design, prompts: SelectedPrompts, checker: Evaluator, *, level: float
) -> tuple[Confirmation, dict[str, JsonValue]]:
    """Compare the selected prompts with the policy's own, and with the best single one."""
    from backtalk.stats.search_gate import confirm_gain  # noqa: PLC0415 - slow to import

    chosen = await prompts.selector.select(checker.examples)
    jobs = [
        *((prompts.candidates[one.index], index) for index, one in enumerate(chosen)),
        *((design.base, index) for index in range(len(chosen))),
        *((prompts.candidates[0], index) for index in range(len(chosen))),
    ]
    # The first prompt may be that of the policy, whose answers are evaluated once.
    scores = np.array([score for _, score in await checker.evaluate(jobs)])
    selected, before, single = np.split(scores, 3)
    search_gain = await _gain_of_design(design, prompts)
    confirmation = confirm_gain(selected - before, search_gain, level=level)
    has_single = prompts.candidates[0].version != design.base.version
    over_single = {_OVER_SINGLE: round(float((selected - single).mean()), 4)} if has_single else {}
    notes: dict[str, JsonValue] = {
        **over_single,
        "compositions": len(prompts.candidates),
        "answers": design.evaluator.used.calls + checker.used.calls,
        **{f"signal: {name}": round(w, 3) for name, w in design.signal.weights.items()},
    }
    return confirmation, notes


async def _gain_of_design(design: Design, prompts: SelectedPrompts) -> float:
    """Return the mean gain of the selected prompts on the requests of the design."""
    chosen = await prompts.selector.select(design.examples)
    jobs = [
        *((prompts.candidates[one.index], index) for index, one in enumerate(chosen)),
        *((design.base, index) for index in range(len(chosen))),
    ]
    scores = np.array([score for _, score in await design.evaluator.evaluate(jobs)])
    selected, before = np.split(scores, 2)
    return float((selected - before).mean())


def _apply(
    policy: Policy,
    prompts: SelectedPrompts,
    feedback: TrainingSet,
    lineage: Lineage,
    *,
    explore: float,
) -> Policy:
    """Return the policy; without compositions if all requests get the same prompt."""
    best = prompts.candidates[0]
    if len(prompts.candidates) == 1:
        return best.apply(policy, lineage)
    choices = tuple(
        Composition(
            name=candidate.note or "as before",
            system=candidate.system,
            prompt=candidate.apply(policy, lineage).prompt,
        )
        for candidate in prompts.candidates
    )
    id_ = feedback.store.artifacts.put(prompts.selector.to_files())
    compositions = PromptCompositions(selector=id_, choices=choices, explore=explore)
    return best.apply(policy, lineage).derive(compositions=compositions, lineage=lineage)


def _no_improvement(prompts: SelectedPrompts, confirmation: Confirmation) -> NoImprovement:
    gain, count = confirmation.gain, len(prompts.candidates)
    tried = "1 prompt" if count == 1 else f"{count} compositions, one for each request,"
    return NoImprovement(
        f"No better prompts were found: {tried} "
        f"gained {confirmation.search_gain:+.3f} on the prompts of the search, and "
        f"{gain.value:+.3f} on {gain.n} new ones, at least {gain.low:+.3f}",
        "The policy stays as it is. Collect more feedback, or learn in another place: "
        "`backtalk methods` lists what can run",
    )


def _budget_ended() -> NoImprovement:
    return NoImprovement(
        "No better prompts were found before the budget was spent",
        "The policy stays as it is. Run it again with a larger budget; it pays for no call twice",
    )
