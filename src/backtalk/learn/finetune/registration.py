"""How a method that trains weights is registered. torch is loaded when one is used."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

from backtalk.errors import BacktalkError, MissingExtra
from backtalk.feedback.views import View
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.encoding import Chat, Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.method import METHODS, Method, OnlineDefaults, Paper, find_method
from backtalk.learn.training_set import TrainingSet
from backtalk.models import Model, Request, Sampling, load_model
from backtalk.policy import Policy
from backtalk.run import Run

if TYPE_CHECKING:
    from backtalk.learn.finetune.preflight import Preflight

TrainingPlan = Callable[..., Awaitable[BuildTasks]]
"""An async function ``(work, *, options)`` that returns what makes the parts to train on."""

_AT_ONCE = 512
"""How many answers are asked for between two reports."""

_TRAINING: Mapping[str, Any] = get_type_hints(TrainingConfig, include_extras=True)


@dataclass(frozen=True)
class MethodContext:
    """What a plan has at hand: the policy that will learn, the feedback, and the run."""

    policy: Policy
    feedback: TrainingSet
    run: Run
    reference: str | None = None
    """The policy, by name or id, that the trainer compares with; ``None`` for the one that learns,
    as it is before."""

    async def sample(
        self,
        prompts: Sequence[Chat],
        count: int,
        *,
        policy: Policy | None = None,
        policies: Sequence[Policy] | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
    ) -> list[list[str]]:
        """Return up to so many answers to each prompt: those that came to an end.

        An answer that was cut off at the most tokens is left out, for a model that learned it
        would learn to stop there.

        Parameters
        ----------
        prompts : sequence of Chat
            What is asked; the policy's system prompt is put before it.
        count : int
            How many answers are drawn for each.
        policy : Policy, optional
            Which policy answers; the one that will learn, if left out.
        policies : sequence of Policy, optional
            Policies with the same model, one a prompt, in the place of one for all.
        sampling : Sampling, optional
            How tokens are drawn; as the policy's decoder does, if left out.
        seed : int, default 0
            Makes other answers than another seed of the same run.
        """
        if not prompts:
            return []
        answering = policies or [policy or self.policy] * len(prompts)
        model = self.model(answering[0])
        requests = [
            Request(
                messages=one.messages(prompt),
                sampling=sampling or one.decoder.sampling,
                sample_index=i,
                seed=self.run.seed * 1_000 + seed,
            )
            for one, prompt in zip(answering, prompts, strict=True)
            for i in range(count)
        ]
        results: list[list[str]] = [[] for _ in prompts]
        with self.run.task("sampling answers", len(requests)) as step:
            for start in range(0, len(requests), _AT_ONCE):
                part = await model.generate(requests[start : start + _AT_ONCE])
                for index, completion in enumerate(part, start):
                    if completion.finish_reason != "length":
                        results[index // count].append(completion.text)
                step(min(start + _AT_ONCE, len(requests)))
        return results

    def model(self, policy: Policy | None = None) -> Model:
        """Return a policy's model, within the run's budget and with its cache."""
        spec = (policy or self.policy).model
        return self.run.wrap(load_model(spec, self.feedback.store.artifacts))


TRAINED: dict[str, TrainingPlan] = {}
"""The plan of every method that trains weights, by name."""


async def build_plan(
    name: str, work: MethodContext, options: Mapping[str, Any]
) -> tuple[BuildTasks, TrainingConfig]:
    """Return what makes the parts that a method trains on, and how it trains.

    Parameters
    ----------
    name : str
        The method's.
    work : MethodContext
        What it works on.
    options : Mapping[str, Any]
        All of its options, as :meth:`~backtalk.learn.method.Method.read_options` returns them.
    """
    own = {key: value for key, value in options.items() if key not in TrainingConfig.model_fields}
    shared = {key: value for key, value in options.items() if key in TrainingConfig.model_fields}
    training = TrainingConfig(**shared)
    return await TRAINED[name](replace(work, reference=training.reference), **own), training


def training_method(
    name: str,
    *,
    needs: Sequence[type[View]],
    paper: Paper,
    options: Mapping[str, Any] | None = None,
    types: Mapping[str, Any] | None = None,
    summary: str | None = None,
    rounds: OnlineDefaults | None = None,
    **settings: Any,
) -> Callable[[TrainingPlan], TrainingPlan]:
    """Register a plan as a method; it also has the options of :class:`TrainingConfig`.

    Parameters
    ----------
    name : str
        What to call the method.
    needs : Sequence[type[View]]
        The views of feedback that it learns from.
    paper : Paper
        Where it comes from.
    options, types : Mapping[str, Any], optional
        The plan's options with their defaults, and their types; those of its signature by default.
    summary : str, optional
        What it does; the plan's docstring by default.
    rounds : OnlineDefaults, optional
        How it learns online.
    settings
        The defaults of :class:`TrainingConfig` that are the method's own.
    """
    default = TrainingConfig(**settings)

    def register(plan: TrainingPlan) -> TrainingPlan:
        own = _keywords(plan) if options is None else dict(options)
        kinds = get_type_hints(plan, include_extras=True) if types is None else dict(types)
        TRAINED[name] = plan

        async def learn(policy: Policy, feedback: TrainingSet, run: Run, **given: Any) -> Policy:
            finetune = _engine(name).finetune
            parts, training = await build_plan(name, MethodContext(policy, feedback, run), given)
            learned: Policy = finetune(
                policy,
                feedback,
                run,
                parts,
                training,
                method=name,
                options=_changed(given, METHODS[name].options),
            )
            return learned

        learn.__doc__ = summary or inspect.getdoc(plan)
        METHODS[name] = Method(
            name,
            "weights",
            tuple(needs),
            paper,
            learn,
            {**own, **{field: getattr(default, field) for field in TrainingConfig.model_fields}},
            {**kinds, **_TRAINING},
            rounds or OnlineDefaults(),
        )
        return plan

    return register


async def dry_run(
    name: str, policy: Policy, feedback: TrainingSet, run: Run, **options: Any
) -> Preflight:
    """Do all that a method does before the first step, and return what the checks found.

    Raises
    ------
    UnknownName
        If there is no such method.
    BacktalkError
        If it trains no weights, or there is nothing that it can learn from.
    """
    method = find_method(name)
    if name not in TRAINED:
        raise BacktalkError(
            f"The method {name} trains no weights, so there is nothing to check before it does",
            f"These do: {', '.join(sorted(TRAINED))}",
        )
    prepare = _engine(name).prepare
    given = method.read_options(options)
    parts, training = await build_plan(name, MethodContext(policy, feedback, run), given)
    checked: Preflight = prepare(policy, feedback, run, parts, training).checked
    return checked


def _engine(name: str) -> ModuleType:
    try:
        return import_module("backtalk.learn.finetune.train")
    except ImportError:
        raise MissingExtra.named("train", f"The method {name}") from None


def _keywords(plan: TrainingPlan) -> dict[str, Any]:
    return {
        option.name: option.default
        for option in inspect.signature(plan).parameters.values()
        if option.kind is option.KEYWORD_ONLY
    }


def _changed(given: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are not the defaults, for the record."""
    return {name: value for name, value in given.items() if value != default[name]}


def register_objective_method(
    name: str,
    view: type[View],
    trees: Callable[[Encoder, Sequence[Any]], list[PromptTree]],
) -> None:
    """Register the method that trains by one objective on one view, each kind a part of its own.

    Parameters
    ----------
    name : str
        The method's and the objective's.
    view : type[View]
        What it learns from.
    trees : Callable[[Encoder, Sequence[Any]], list[PromptTree]]
        Makes trees of views.
    """
    goal = find_objective(name)

    async def plan(work: MethodContext, **options: Any) -> BuildTasks:
        bound = goal.bind(**options)

        def make(encoder: Encoder) -> list[TrainingTask]:
            return [
                TrainingTask(kind, bound, trees(encoder, own))
                for kind, own in work.feedback.by_kind(view).items()
            ]

        return make

    training_method(
        name,
        needs=[view],
        paper=goal.paper,
        options=goal.options,
        types=get_type_hints(goal.function, include_extras=True),
        summary=goal.summary,
    )(plan)
