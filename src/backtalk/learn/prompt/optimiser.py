"""Registration of prompt optimisers as methods: the options of the search, and those of each."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, get_type_hints

from pydantic import Field, JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.views import CritiqueView, LabelView, Pair, ScoreView, SFTExample
from backtalk.learn.context import MethodContext
from backtalk.learn.method import Paper, method
from backtalk.learn.prompt.learning import (
    ENOUGH_PROMPTS,
    JUDGEMENTS,
    MAX_CONFIRMATION,
    MAX_EXAMPLES,
    learn_prompt,
)
from backtalk.learn.prompt.protocol import Proposer
from backtalk.learn.prompt.search import SearchSettings
from backtalk.learn.prompt.signals import FeedbackSignal
from backtalk.learn.prompt.writer import PromptWriter, make_writer
from backtalk.learn.requirements import AnyRequirement
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.run import Run


@dataclass(frozen=True)
class Search:
    """Context, signal and writer for which an optimiser makes its proposers."""

    context: MethodContext
    signal: FeedbackSignal
    writer: PromptWriter
    notes: dict[str, JsonValue] = field(default_factory=dict)
    """Notes of the optimiser for the lineage."""
    embedder: EmbedderName = "hashed"
    """Embedder of learned rewards."""


MakeProposers = Callable[..., Awaitable[Sequence[Proposer]]]
"""Async function ``(search, *, options) -> proposers``."""


def optimiser(
    name: str,
    *,
    paper: Paper,
    formula: str,
    example: str = "",
    requires: Iterable[AnyRequirement] = (),
    pareto: bool = False,
    check: Callable[..., None] | None = None,
) -> Callable[[MakeProposers], MakeProposers]:
    """Register a function that makes proposers as a method that learns a prompt.

    Keyword-only parameters of the function are options of the method, beside those of the search.
    Its docstring describes the method; it ends with a Parameters section.

    Parameters
    ----------
    name : str
        Name of the method.
    paper : Paper
        Publication.
    formula : str
        Update in plain text.
    example : str, default ""
        Options of an example command.
    requires : iterable of Requirement, FeedbackRequirement or PolicyRequirement, default ()
        Requirements beyond feedback.
    pareto : bool, default False
        If true, proposers build on candidates that are best on some example.
    check : Callable, optional
        Function ``(policy, *, options)`` that raises an error, before any call, if the optimiser
        cannot improve the policy.
    """
    requirements = tuple(requires)

    def register(make: MakeProposers) -> MakeProposers:
        own = {
            key: parameter
            for key, parameter in inspect.signature(make).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }

        async def learn(policy: Policy, feedback: TrainingSet, run: Run, **options: Any) -> Policy:
            chosen = {key: options[key] for key in own if key in options}
            if check is not None:
                check(policy, **chosen)
            rest = {key: value for key, value in options.items() if key not in own}
            return await _search(
                policy, feedback, run, make, name=name, own=chosen, pareto=pareto, **rest
            )

        _describe(learn, make, own)
        method(
            name,
            target="prompt",
            needs=[Pair],
            alternatives=[ScoreView, LabelView, SFTExample, CritiqueView],
            paper=paper,
            formula=formula,
            example=example,
            requires=[ENOUGH_PROMPTS, JUDGEMENTS, *requirements],
        )(learn)
        return make

    return register


async def _search(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    make: MakeProposers,
    *,
    name: str,
    own: dict[str, Any],
    pareto: bool,
    candidates: Annotated[int, Field(ge=1)] = 20,
    examples: Annotated[int, Field(ge=4)] = MAX_EXAMPLES,
    confirmation: Annotated[int, Field(ge=4)] = MAX_CONFIRMATION,
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
    judge: str | None = None,
    writer: str | None = None,
    embedder: EmbedderName = "hashed",
) -> Policy:
    notes: dict[str, JsonValue] = {}

    async def make_proposers(context: MethodContext, signal: FeedbackSignal) -> Sequence[Proposer]:
        search = Search(context, signal, make_writer(context, writer), notes, embedder)
        return await make(search, **own)

    options = {
        **own,
        "candidates": candidates,
        "examples": examples,
        "confirmation": confirmation,
        "level": level,
        "embedder": embedder,
        **({} if judge is None else {"judge": judge}),
        **({} if writer is None else {"writer": writer}),
    }
    return await learn_prompt(
        policy,
        feedback,
        run,
        make_proposers,
        method=name,
        options=options,
        judge=judge,
        embedder=embedder,
        settings=SearchSettings(candidates=candidates, level=level, pareto=pareto),
        examples=examples,
        confirmation=confirmation,
        notes=notes,
    )


_SEARCH_OPTIONS = """candidates : int, default 20
    Maximum number of prompts that the search compares.
examples : int, default 64
    Maximum number of stored prompts that the search answers.
confirmation : int, default 100
    Maximum number of other stored prompts that confirm the winner.
level : float, default 0.95
    Probability that no improvement is reported if there is none, over the whole search.
judge : str, optional
    Judge of answers beside the feedback, such as ``llm:MODEL`` or ``reward:NAME``.
writer : str, optional
    Policy whose model writes prompts; the policy itself by default.
embedder : {"hashed", "sentence"}, default "hashed"
    Embedder of the learned reward.

Raises
------
NoImprovement
    If no candidate is shown to be better.
BacktalkError
    If there are too few prompts, or nothing tells better answers from worse."""


def _describe(learn: Any, make: MakeProposers, own: dict[str, inspect.Parameter]) -> None:
    """Give a method the signature, types and documentation of its optimiser and the search."""
    common = {
        key: parameter
        for key, parameter in inspect.signature(_search).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    hints = {
        **get_type_hints(_search, include_extras=True),
        **get_type_hints(make, include_extras=True),
    }
    options = {**own, **common}
    signature = inspect.signature(learn)
    positional = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    learn.__signature__ = signature.replace(
        parameters=[*positional, *(options[key] for key in options)]
    )
    learn.__annotations__ = {
        **{p.name: hints[p.name] for p in positional},
        **{key: hints[key] for key in options},
        "return": Policy,
    }
    documentation = inspect.getdoc(make) or ""
    heading = "" if "\nParameters\n---" in documentation else "\n\nParameters\n----------"
    learn.__doc__ = f"{documentation}{heading}\n{_SEARCH_OPTIONS}"
    learn.__name__ = learn.__qualname__ = make.__name__
    learn.__module__ = make.__module__
