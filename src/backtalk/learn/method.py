"""Registry of methods: functions from a policy and feedback to a better policy."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_type_hints

from pydantic import TypeAdapter

from backtalk.feedback.conversions import conversions_to
from backtalk.feedback.views import View
from backtalk.learn.options import (
    OptionDescription,
    describe_options,
    keyword_options,
    parameter_descriptions,
    read_options,
)
from backtalk.learn.requirements import AnyRequirement
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy
from backtalk.registry import Registry
from backtalk.run import Run

Target = Literal["decoding", "prompt", "memory", "weights"]
"""Part of a policy that a method changes."""


@dataclass(frozen=True)
class Paper:
    """Publication of a method or objective."""

    title: str
    authors: str
    year: int
    url: str = ""

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}), {self.title}"


@dataclass(frozen=True)
class OnlineDefaults:
    """Defaults of a method for online learning."""

    update_reference_every: int | None = None
    """Number of rounds after which the reference is set to the current policy; by default the
    reference stays the first policy."""
    sampler: str = "policy"
    """Name in :data:`~backtalk.learn.online.samplers.SAMPLERS`."""
    pair_selection: str = "best-worst"
    """Name in :data:`~backtalk.learn.online.pair_selection.PAIR_SELECTORS`, or ``"mutual"``."""


@dataclass(frozen=True)
class MethodDescription:
    """Documentation of a method, for people."""

    name: str
    summary: str
    """One sentence."""
    details: str
    """Further paragraphs; empty if there are none."""
    target: Target
    formula: str
    """Loss or update in plain text; empty if the method has no formula of its own."""
    paper: Paper
    kinds: tuple[str, ...]
    """Kinds of feedback that the method can learn from."""
    requires: tuple[str, ...]
    """Everything that the method needs from a store, in words."""
    options: tuple[OptionDescription, ...]
    example: str
    """Command line."""


@dataclass(frozen=True)
class Method:
    """Learning method: its requirements, its options and the function."""

    name: str
    target: Target
    needs: tuple[type[View], ...]
    """Views of feedback that the method learns from; at least one view of each type is needed,
    unless there is one of :attr:`alternatives`."""
    paper: Paper
    function: Callable[..., Awaitable[Policy]]
    """Async function ``(policy, feedback, run, **options) -> policy``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Default of every option."""
    types: Mapping[str, Any] = field(default_factory=dict)
    """Type of every option."""
    online: OnlineDefaults = OnlineDefaults()
    requires: tuple[AnyRequirement, ...] = ()
    """Requirements beyond :attr:`needs`."""
    alternatives: tuple[type[View], ...] = ()
    """Views that the method also learns from, and any of which will do instead of the needed."""
    every_aspect: bool = False
    """True if the method reads the judgements on all aspects."""
    plan: Callable[..., Awaitable[Any]] | None = None
    """Training plan of a method that trains weights;
    see :func:`~backtalk.learn.finetune.registration.training_method`."""
    formula: str = ""
    """Loss or update in plain text."""
    documentation: str = ""
    """Docstring, in numpydoc format."""
    option_meanings: Mapping[str, str] = field(default_factory=dict)
    """Description of every option."""
    example: str = ""
    """Options of an example command, such as ``-o n=16``."""

    @property
    def summary(self) -> str:
        """Description in one sentence."""
        return self.documentation.split("\n", maxsplit=1)[0]

    @property
    def views(self) -> tuple[type[View], ...]:
        """All views that the method learns from."""
        return (*self.needs, *self.alternatives)

    @property
    def kinds(self) -> list[str]:
        """Kinds of feedback that the method can learn from."""
        return sorted({way.source for view in self.views for way in conversions_to(view)})

    def read_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return validated options: strings converted, defaults filled in.

        Raises
        ------
        UnknownName
            If the method has no such option; the message lists the options that it has.
        BacktalkError
            If a value does not fit its type.
        """
        return read_options(self.name, self.options, self.types, values)

    async def learn(
        self, policy: Policy, feedback: TrainingSet, run: Run, **options: Any
    ) -> Policy:
        """Return the policy that the method makes of this one.

        Parameters
        ----------
        policy : Policy
            Policy to improve.
        feedback : TrainingSet
            Feedback to learn from.
        run : Run
            Seed, budget and cache.
        **options : Any
            Options of the method.

        Raises
        ------
        BacktalkError
            If the feedback holds nothing that the method can learn from.
        """
        values = self.read_options(options)
        learned = await self.function(policy, feedback, run, **values)
        return TypeAdapter(Policy).validate_python(learned)

    def describe(self) -> MethodDescription:
        """Return the method's documentation."""
        views = (
            " or ".join(
                sorted(
                    {
                        way.source
                        for view in (need, *self.alternatives)
                        for way in conversions_to(view)
                    }
                )
            )
            + " feedback"
            for need in self.needs
        )
        return MethodDescription(
            name=self.name,
            summary=self.summary,
            details=_details(self.documentation),
            target=self.target,
            formula=self.formula,
            paper=self.paper,
            kinds=tuple(self.kinds),
            requires=(*views, *(requirement.description for requirement in self.requires)),
            options=describe_options(self.options, self.types, self.option_meanings),
            example=f"backtalk learn {self.name} --policy NAME {self.example}".rstrip(),
        )


METHODS = Registry[Method](
    "method",
    entry_points="backtalk.methods",
    modules=(
        *(
            f"backtalk.learn.finetune.methods.{module}"
            for module in (
                "c3po",
                "control_codes",
                "counterfactual",
                "critiques",
                "hindsight",
                "i_orpo",
                "imitation",
                "listwise",
                "preference",
                "rejection_sampling",
                "rise",
                "self_play",
                "self_sampled",
                "step_dpo",
                "t_reg",
                "tpo",
                "unpaired",
                "weak_to_strong",
            )
        ),
        "backtalk.learn.decoding.best_of_n",
        *(
            f"backtalk.learn.prompt.methods.{module}"
            for module in (
                "compositions",
                "criteria",
                "demonstrations",
                "gradients",
                "inference",
                "people",
                "preferences",
                "reasoning",
                "requests",
                "tokens",
                "toolkit",
                "tools",
            )
        ),
        "backtalk.learn.prompt.method",
        *(
            f"backtalk.learn.memory.{module}"
            for module in (
                "canonical_examples",
                "cipher",
                "constitution_maker",
                "droc",
                "gate",
                "inverse_constitution",
                "leap",
                "mem_prompt",
                "remember",
                "respect",
                "user_profile",
                "verbal_feedback",
            )
        ),
    ),
    item_type=Method,
)
"""All methods by name, those of installed packages included."""


def method(
    name: str,
    *,
    target: Target,
    needs: Iterable[type[View]],
    paper: Paper,
    alternatives: Iterable[type[View]] = (),
    requires: Iterable[AnyRequirement] = (),
    formula: str = "",
    example: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an async function ``(policy, feedback, run, *, options) -> policy`` as a method.

    Keyword-only parameters of the function are the options of the method. Its docstring, with a
    Parameters section, is the documentation.

    Parameters
    ----------
    name : str
        Name of the method.
    target : {"decoding", "prompt", "memory", "weights"}
        Part of a policy that the method changes.
    needs : iterable of type[View]
        Views of feedback that the method learns from.
    paper : Paper
        Publication.
    alternatives : iterable of type[View], default ()
        Views that it also learns from, and any of which will do instead of the needed.
    requires : iterable of Requirement, FeedbackRequirement or PolicyRequirement, default ()
        Further requirements.
    formula : str, default ""
        Update in plain text.
    example : str, default ""
        Options of an example command.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        METHODS.register(
            name,
            Method(
                name,
                target,
                tuple(needs),
                paper,
                function,
                options=keyword_options(function),
                types=get_type_hints(function, include_extras=True),
                alternatives=tuple(alternatives),
                requires=tuple(requires),
                formula=formula,
                documentation=inspect.getdoc(function) or "",
                option_meanings=parameter_descriptions(function),
                example=example,
            ),
            origin=function,
        )
        return function

    return register


def get_method(name: str) -> Method:
    """Return the method of that name, or raise ``UnknownName``."""
    return METHODS.get(name)


def _details(documentation: str) -> str:
    """Return a docstring without its first line and its sections."""
    lines = documentation.split("\n")
    rules = [index for index, line in enumerate(lines) if line and not line.strip("-")]
    end = rules[0] - 1 if rules else len(lines)
    return "\n".join(lines[1:end]).strip()
