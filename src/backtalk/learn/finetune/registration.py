"""Registration of methods that train weights. torch is imported when such a method runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

from backtalk.errors import BacktalkError, MissingExtra
from backtalk.feedback.attribute_docstrings import attribute_docstrings
from backtalk.feedback.views import View
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.answer_writer import AnswerWriter
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.prompt_conditioning import SystemPrompt, with_system_suffix
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.method import METHODS, Method, OnlineDefaults, Paper, get_method
from backtalk.learn.options import LazyMapping, keyword_options, parameter_descriptions
from backtalk.learn.requirements import LOCAL_MODEL, PACKAGES, AnyRequirement
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run

if TYPE_CHECKING:
    from backtalk.learn.finetune.preflight import Preflight, Report

TrainingPlan = Callable[..., Awaitable[BuildTasks]]
"""Async function ``(context, *, options)`` that returns a builder of training tasks."""

_CONFIG_TYPES = LazyMapping(lambda: get_type_hints(TrainingConfig, include_extras=True))
_CONFIG_MEANINGS = LazyMapping(
    lambda: {
        name: " ".join(docstring.split())
        for name, docstring in attribute_docstrings(TrainingConfig).items()
    }
)


async def build_plan(
    name: str, context: MethodContext, options: Mapping[str, Any]
) -> tuple[BuildTasks, TrainingConfig]:
    """Return the builder of a method's training tasks, and the training configuration.

    Parameters
    ----------
    name : str
        Name of a method that trains weights.
    context : MethodContext
        Policy, feedback and run.
    options : Mapping[str, Any]
        All options of the method, as :meth:`~backtalk.learn.method.Method.read_options` returns
        them.

    Raises
    ------
    BacktalkError
        If the method trains no weights.
    """
    plan = get_method(name).plan
    if plan is None:
        trains = sorted(method.name for method in METHODS.values() if method.plan is not None)
        raise BacktalkError(
            f"The method {name} trains no weights, so there is nothing to check before training",
            f"Methods that train weights: {', '.join(trains)}",
        )
    own = {key: value for key, value in options.items() if key not in TrainingConfig.model_fields}
    shared = {key: value for key, value in options.items() if key in TrainingConfig.model_fields}
    config = TrainingConfig(**shared)
    return await plan(
        replace(context, reference=config.reference, max_left_out=config.max_left_out), **own
    ), config


def training_method(
    name: str,
    *,
    needs: Sequence[type[View]],
    objective: str | None = None,
    paper: Paper | None = None,
    online: OnlineDefaults | None = None,
    alternatives: Sequence[type[View]] = (),
    every_aspect: bool = False,
    requires: Iterable[AnyRequirement] = (),
    system_prompt: SystemPrompt | None = None,
    meanings: Mapping[str, str] | None = None,
    example: str = "",
    **defaults: Any,
) -> Callable[[TrainingPlan], TrainingPlan]:
    """Register a training plan as a method.

    The options of the method are the keyword-only parameters of the plan, those of the objective if
    the plan takes ``**options``, and the fields of :class:`TrainingConfig`.

    Parameters
    ----------
    name : str
        Name of the method.
    needs : Sequence[type[View]]
        Views of feedback that the method learns from.
    objective : str, optional
        Objective that gives the method its formula.
    paper : Paper, optional
        Publication; that of the objective by default.
    online : OnlineDefaults, optional
        Defaults for online learning.
    alternatives : Sequence[type[View]], default ()
        Views that the method also learns from, and any of which will do instead of the needed.
    every_aspect : bool, default False
        If true, the method reads the judgements on all aspects.
    requires : iterable of Requirement, FeedbackRequirement or PolicyRequirement, default ()
        Requirements beyond ``needs``, a local model and the packages for training.
    system_prompt : SystemPrompt, optional
        Text at the end of the learned policy's system prompt: the text that the best responses were
        trained under.
    meanings : Mapping[str, str], optional
        Descriptions of options that are in no Parameters section.
    example : str, default ""
        Options of an example command.
    **defaults : Any
        Defaults of :class:`TrainingConfig` fields that differ for this method.

    Raises
    ------
    ValueError
        If neither an objective nor a paper is given.
    """
    config = TrainingConfig(**defaults)
    goal = None if objective is None else get_objective(objective)
    if paper is None:
        if goal is None:
            raise ValueError(f"The method {name} has neither an objective nor a paper")
        paper = goal.paper
    source = paper

    def register(plan: TrainingPlan) -> TrainingPlan:
        own = keyword_options(plan)
        documentation = inspect.getdoc(plan) or ""
        shared = goal if _takes_any_option(plan) else None
        if shared is not None:
            own |= shared.options
            documentation = documentation or shared.documentation

        def types() -> dict[str, Any]:
            inherited = {} if shared is None else shared.types
            return {**get_type_hints(plan, include_extras=True), **inherited, **_CONFIG_TYPES}

        def option_meanings() -> dict[str, str]:
            inherited = {} if shared is None else shared.option_meanings
            own_meanings = parameter_descriptions(plan) | dict(meanings or {})
            return {**inherited, **own_meanings, **_CONFIG_MEANINGS}

        options = {
            **own,
            **{field: getattr(config, field) for field in TrainingConfig.model_fields},
        }

        async def learn(policy: Policy, feedback: TrainingSet, run: Run, **values: Any) -> Policy:
            engine = _engine(name)
            model = engine.check_trainable(policy, feedback.store.artifacts)
            write = AnswerWriter(policy, model)
            feedback = feedback.plain_texts(write)
            context = MethodContext(policy, feedback, run)
            tasks, training = await build_plan(name, context, values)
            validation = None
            if feedback.validation is not None:
                held_out = replace(context, feedback=feedback.validation.plain_texts(write))
                validation, _ = await build_plan(name, held_out, values)
            learned: Policy = engine.finetune(
                policy,
                feedback,
                run,
                tasks,
                training,
                method=name,
                options={key: value for key, value in values.items() if value != options[key]},
                build_validation=validation,
            )
            learned = learned.with_rewards(context.rewards)
            if system_prompt is None:
                return learned
            text = system_prompt if isinstance(system_prompt, str) else system_prompt(feedback)
            return learned.derive(
                system=with_system_suffix(policy, text).system, lineage=learned.lineage
            )

        METHODS.register(
            name,
            Method(
                name,
                "weights",
                tuple(needs),
                source,
                learn,
                options=options,
                types=LazyMapping(types),
                online=online or OnlineDefaults(),
                requires=(*requires, LOCAL_MODEL, PACKAGES),
                alternatives=tuple(alternatives),
                every_aspect=every_aspect,
                plan=plan,
                formula="" if goal is None else goal.formula,
                documentation=documentation,
                option_meanings=LazyMapping(option_meanings),
                example=example,
            ),
            origin=plan,
        )
        return plan

    return register


async def dry_run(
    name: str,
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    report: Report | None = None,
    **options: Any,
) -> Preflight:
    """Run the checks that precede training, without training.

    A few rows of each kind of feedback are read, tokenised and checked. If they pass, the tokens of
    all rows are counted. Of the reference, only the log-probabilities of the few rows are computed.

    Parameters
    ----------
    name : str
        Name of a method that trains weights.
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Feedback to learn from.
    run : Run
        Seed, budget and cache.
    report : Report, optional
        Function that receives each rendered response and each check as soon as it is known.
    **options : Any
        Options of the method.

    Raises
    ------
    UnknownName
        If there is no such method.
    BacktalkError
        If the method trains no weights, or finds nothing to learn from.
    """
    values = get_method(name).read_options(options)
    model = _engine(name).check_trainable(policy, feedback.store.artifacts)
    context = MethodContext(policy, feedback.plain_texts(AnswerWriter(policy, model)), run)
    checks = _engine(name, "few_rows").check
    result: Preflight = await (
        checks(name, context, values) if report is None else checks(name, context, values, report)
    )
    return result


def _engine(name: str, module: str = "train") -> ModuleType:
    try:
        return import_module(f"backtalk.learn.finetune.{module}")
    except ImportError:
        raise MissingExtra.named("train", f"The method {name}") from None


def _takes_any_option(plan: TrainingPlan) -> bool:
    parameters = inspect.signature(plan).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def register_objective_method(
    name: str,
    view: type[View],
    trees: Callable[[Encoder, Sequence[Any]], list[PromptTree]],
) -> None:
    """Register the method that trains by one objective on one view, with a task for each kind.

    Parameters
    ----------
    name : str
        Name of the objective and of the method.
    view : type[View]
        View that the method learns from.
    trees : Callable[[Encoder, Sequence[Any]], list[PromptTree]]
        Function from views to trees.
    """
    goal = get_objective(name)

    async def plan(context: MethodContext, **options: Any) -> BuildTasks:
        bound = goal.bind(**options)

        def build(encoder: Encoder) -> list[TrainingTask]:
            return [
                TrainingTask(kind, bound, trees(encoder, views))
                for kind, views in context.feedback.by_kind(view).items()
            ]

        return build

    training_method(name, needs=[view], objective=name)(plan)
