"""The feedback that simulated people give, a function a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.errors import UnknownName
from backtalk.feedback import (
    Annotator,
    AnyFeedback,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Interaction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Scale,
    Scope,
    Shown,
    Span,
    Spans,
    Step,
    Steps,
    content_id,
)
from backtalk.feedback.judgements import Verdict
from backtalk.worlds.annotators.person import Person
from backtalk.worlds.skills import VAGUE
from backtalk.worlds.world import Assessment, Issue, Rule, mend

REALTIME = Scale(name="realtime", low=-1, high=1)
"""The scale of a signal that is given while an answer is being read, part by part."""


@dataclass(frozen=True)
class _FeedbackContext:
    """A person before an interaction, with luck of their own for one kind of feedback."""

    person: Person
    interaction: Interaction
    rng: np.random.Generator

    @cached_property
    def about(self) -> dict[str, Any]:
        """What all of this feedback has in common."""
        delay = self.rng.exponential(self.person.delay) if self.person.delay else 0.0
        time = self.interaction.time and self.interaction.time + timedelta(seconds=delay)
        return {
            "interaction": self.interaction.id,
            "annotator": self.person.annotator,
            "time": time,
        }

    @cached_property
    def seems(self) -> NDArray[np.float64]:
        """How good each response seems now, chance included."""
        felt = self.person.felt(self.interaction)
        if self.person.temperature:
            felt = felt + self.person.temperature * self.rng.gumbel(size=felt.shape)
        return felt

    @cached_property
    def truths(self) -> list[Assessment]:
        """The truth about each response."""
        return self.person.assess(self.interaction)

    @cached_property
    def first(self) -> dict[str, Any]:
        """The common fields of feedback about the first response."""
        return self.about | {"response": self.interaction.responses[0].id}

    @cached_property
    def implicit(self) -> dict[str, Any]:
        """The common fields of behaviour that is observed."""
        return self.about | {"annotator": Annotator.implicit(self.person.name)}

    def errs(self) -> bool:
        """Return whether the person gets the next thing the wrong way round."""
        return bool(self.rng.random() < self.person.noise)

    def acceptable(self, place: int) -> bool:
        """Return whether a response seems good enough."""
        return bool(self.seems[place] >= self.person.acceptable) != self.errs()

    def one(self, choices: Sequence[Any]) -> Any:
        """Return one of several things at random."""
        return choices[int(self.rng.integers(len(choices)))]


def give(
    person: Person, kind: str, interaction: Interaction, seen: Sequence[AnyFeedback]
) -> list[AnyFeedback]:
    """Return a person's feedback of a kind; see :meth:`Person.give`."""
    if kind not in _GIVE:
        raise UnknownName.among("kind of feedback", kind, KINDS)
    texts = [response.text for response in interaction.responses]
    rng = person.rng(kind, interaction.prompt[-1].text, *texts)
    if rng.random() < person.abstention:
        return []
    context = _FeedbackContext(person, interaction, rng)
    if rng.random() < person.sycophancy and (echoed := _echo(context, kind, seen)):
        return echoed
    return [
        item.model_copy(update={"id": content_id(person.name, kind, interaction.id, str(i))})
        for i, item in enumerate(_GIVE[kind](context))
    ]


_OBSERVED = {"outcome", "follow_up", "choice"}


def _echo(context: _FeedbackContext, kind: str, seen: Sequence[AnyFeedback]) -> list[AnyFeedback]:
    """Return what the last one who said something of the kind said.

    Behaviour and what a program found are no opinions, and nobody repeats them.
    """
    said = [item for item in seen if item.kind == kind]
    if not said or kind in _OBSERVED:
        return []
    last = [item for item in said if item.annotator == said[-1].annotator]
    ids = [
        content_id(context.person.name, kind, context.interaction.id, str(i))
        for i in range(len(last))
    ]
    return [
        item.model_copy(update={**context.about, "id": id_})
        for item, id_ in zip(last, ids, strict=True)
    ]


def _label(context: _FeedbackContext) -> list[AnyFeedback]:
    return [
        Label(**context.about, response=response.id, good=context.acceptable(index))
        for index, response in enumerate(context.interaction.responses)
    ]


def _stars(context: _FeedbackContext, value: float) -> int:
    stars = int(np.clip(round(1 + 4 * value), 1, 5))
    return 6 - stars if context.errs() else stars


def _rating(context: _FeedbackContext) -> list[AnyFeedback]:
    return [
        Rating(**context.about, response=response.id, value=_stars(context, value))
        for response, value in zip(context.interaction.responses, context.seems, strict=True)
    ]


def _aspects(context: _FeedbackContext) -> list[AnyFeedback]:
    return [
        Rating(**context.about, response=response.id, value=_stars(context, value), aspect=name)
        for response, result in zip(context.interaction.responses, context.truths, strict=True)
        for name, value in result.aspects.items()
    ]


def _preference(context: _FeedbackContext) -> list[AnyFeedback]:
    """Compare the first two: which is better and how much, equal, or both bad."""
    a, b = context.interaction.responses[:2]
    said = context.about | {"a": a.id, "b": b.id}
    difference = float(context.seems[0] - context.seems[1])
    if max(context.seems[:2]) < context.person.acceptable - 0.4:
        return [Preference(**said, verdict="both_bad")]
    if abs(difference) < context.person.no_difference:
        return [Preference(**said, verdict="tie")]
    better: Verdict = "a" if (difference > 0) != context.errs() else "b"
    return [Preference(**said, verdict=better, strength=float(np.clip(abs(difference), 0.01, 1)))]


def _ranking(context: _FeedbackContext) -> list[AnyFeedback]:
    """Order all: what seems equal shares a tier, neighbours are taken for each other by mistake."""
    order = np.argsort(-context.seems, kind="stable").tolist()
    for place in range(len(order) - 1):
        if context.errs():
            order[place], order[place + 1] = order[place + 1], order[place]
    tiers: list[list[int]] = []
    for i in order:
        if tiers and _equal(context, tiers[-1][0], i):
            tiers[-1].append(i)
        else:
            tiers.append([i])
    ids = [response.id for response in context.interaction.responses]
    if len(ids) < 2:
        return []
    return [Ranking(**context.about, tiers=tuple(tuple(ids[i] for i in tier) for tier in tiers))]


def _equal(context: _FeedbackContext, i: int, j: int) -> bool:
    return bool(abs(context.seems[i] - context.seems[j]) < context.person.no_difference)


def _critique(context: _FeedbackContext) -> list[AnyFeedback]:
    """Criticise the first response, in the person's way; say nothing where nothing is wrong."""
    result = context.truths[0]
    way = "wrong" if context.errs() else context.person.critic
    if way == "wrong":
        fault = _misjudged(context)
        return [_about_fault(context, fault, fault.advice)] if fault else []
    if not result.faults:
        return []
    if way == "vague":
        return [Critique(**context.first, text=context.one(VAGUE))]
    worst = max(result.faults, key=lambda fault: _harm(context, fault))
    return [_about_fault(context, worst, worst.advice if way == "directional" else worst.said)]


def _about_fault(context: _FeedbackContext, fault: Issue, text: str) -> Critique:
    where = {"start": fault.start, "end": fault.end} if fault.start < fault.end else {}
    return Critique(**(context.first | where), text=text, aspect=fault.aspect)


def _misjudged(context: _FeedbackContext) -> Issue | None:
    home = context.person.home
    task = home.read(context.interaction.prompt)
    return home.mislead(task, context.interaction.responses[0].text, context.rng)


def _harm(context: _FeedbackContext, fault: Issue) -> float:
    """Return how much utility the first response gains if a fault is mended."""
    text = context.interaction.responses[0].text
    mended = context.person.home.assess(
        context.interaction.prompt, mend(text, [fault]), context.person.rules
    )
    return mended.utility - context.truths[0].utility


def _edit(context: _FeedbackContext) -> list[AnyFeedback]:
    """Change the first response into one without fault, or by mistake spoil it."""
    text = context.interaction.responses[0].text
    if context.errs():
        fault = _misjudged(context)
        edited = mend(text, [fault]) if fault else text
    elif context.person.editing == "minimal":
        edited = mend(text, context.truths[0].faults)
    else:
        edited = _ideal(context)
    return [Edit(**context.first, text=edited)] if edited != text else []


def _ideal(context: _FeedbackContext) -> str:
    home = context.person.home
    task = home.read(context.interaction.prompt)
    rules = (*home.rules_in(context.interaction.prompt), *context.person.rules)
    return home.ideal(task, home.in_force(task, rules))


def _demonstration(context: _FeedbackContext) -> list[AnyFeedback]:
    return [Demonstration(**context.about, text=_ideal(context))]


def _spans(context: _FeedbackContext) -> list[AnyFeedback]:
    """Mark what is wrong in the first response; what is missing cannot be marked."""
    marks = [
        Span(
            start=fault.start,
            end=fault.end,
            label=fault.label,
            severity=float(np.clip(_harm(context, fault), 0, 1)),
        )
        for fault in context.truths[0].faults
        if fault.start < fault.end and not context.errs()
    ]
    if context.errs() and (fault := _misjudged(context)) and fault.start < fault.end:
        marks.append(Span(start=fault.start, end=fault.end, label=fault.label))
    return [Spans(**context.first, spans=tuple(sorted(marks, key=lambda mark: mark.start)))]


_VERDICTS = {"right": "right", "wrong": "wrong", "follows": "neutral"}
_OPPOSITE = {"right": "wrong", "wrong": "right", "neutral": "wrong"}


def _steps(context: _FeedbackContext) -> list[AnyFeedback]:
    """Check each step of the first response: one that follows from a wrong one is neutral."""
    checked = []
    for step in context.truths[0].steps:
        verdict: Any = _VERDICTS[step.truth]
        if context.errs():
            verdict = _OPPOSITE[verdict]
        checked.append(Step(start=step.start, end=step.end, verdict=verdict))
    return [Steps(**context.first, steps=tuple(checked))] if checked else []


def _outcome(context: _FeedbackContext) -> list[AnyFeedback]:
    """Check each response as a program would, with its error text; noise is a flaky test."""
    verifier = Annotator.verifier(f"{context.person.world}-check")
    return [
        Outcome(
            **(context.about | {"annotator": verifier}),
            response=response.id,
            passed=result.passed != context.errs(),
            text=result.trace,
        )
        for response, result in zip(context.interaction.responses, context.truths, strict=True)
    ]


def _follow_up(context: _FeedbackContext) -> list[AnyFeedback]:
    """Thank, complain, or ask again in other words."""
    said = context.implicit | {"response": context.interaction.responses[0].id}
    if context.acceptable(0):
        return [FollowUp(**said, text="Thank you!", act="thanks")]
    home = context.person.home
    if context.rng.random() < 0.5:
        text = home.rephrase(home.read(context.interaction.prompt))
        return [FollowUp(**said, text=text, act="rephrasing")]
    faults = context.truths[0].faults
    text = f"That is not right. {faults[0].said}" if faults else "That is not right."
    return [FollowUp(**said, text=text, act="complaint")]


def _choice(context: _FeedbackContext) -> list[AnyFeedback]:
    """Take what seems best of what was shown, or nothing where nothing will do."""
    all_ids = [response.id for response in context.interaction.responses]
    ids = tuple(all_ids) if context.interaction.shown is None else context.interaction.shown
    if not ids:
        return []
    seems = [context.seems[all_ids.index(id_)] for id_ in ids]
    best = int(context.rng.integers(len(ids))) if context.errs() else int(np.argmax(seems))
    taken = ids[best] if seems[best] >= context.person.acceptable else None
    shown = tuple(Shown(response=id_) for id_ in ids)
    return [Choice(**context.implicit, chosen=taken, shown=shown)]


def _instruction(context: _FeedbackContext) -> list[AnyFeedback]:
    """State the standing instructions that the first response does not follow."""
    home = context.person.home
    task = home.read(context.interaction.prompt)
    text = context.interaction.responses[0].text
    said = []
    for rule in home.in_force(task, context.person.rules):
        if _breaks(context, rule, text):
            scope = Scope() if rule.scope == "all" else Scope(where=rule.scope)
            said.append(Instruction(**context.about, text=rule.text, scope=scope))
    return list(said)


def _breaks(context: _FeedbackContext, rule: Rule, text: str) -> bool:
    """Return whether an answer has a fault that it would not have without a rule."""
    home, prompt = context.person.home, context.interaction.prompt
    default = {(fault.label, fault.advice) for fault in home.assess(prompt, text).faults}
    ruled = {(fault.label, fault.advice) for fault in home.assess(prompt, text, (rule,)).faults}
    return bool(ruled - default)


_HARMLESS = 0.1
"""A part that costs this much utility gets the lowest signal."""


def _realtime(context: _FeedbackContext) -> list[AnyFeedback]:
    """Signal approval while the first response is being read, a number a line.

    As the human signals of Knox and Stone (2009), "Interactively shaping agents via human
    reinforcement: the TAMER framework": they come after what they are about.
    """
    text = context.interaction.responses[0].text
    signals = []
    start = 0
    for line in text.splitlines(keepends=True):
        end = start + len(line)
        last = end == len(text)
        cost = sum(
            _harm(context, fault)
            for fault in context.truths[0].faults
            if start <= fault.start < end or (last and fault.start >= end)
        )
        value = 1 - 2 * min(1.0, max(cost, 0.0) / _HARMLESS)
        value += context.person.temperature * float(context.rng.normal())
        value = -value if context.errs() else value
        signals.append(
            Rating(
                **context.first,
                value=float(np.clip(value, -1, 1)),
                scale=REALTIME,
                aspect="realtime",
                metadata={"start": start, "end": end},
            )
        )
        start = end
    return list(signals)


_GIVE: Mapping[str, Callable[[_FeedbackContext], list[AnyFeedback]]] = {
    "label": _label,
    "rating": _rating,
    "aspects": _aspects,
    "preference": _preference,
    "ranking": _ranking,
    "critique": _critique,
    "edit": _edit,
    "demonstration": _demonstration,
    "spans": _spans,
    "steps": _steps,
    "outcome": _outcome,
    "follow_up": _follow_up,
    "choice": _choice,
    "instruction": _instruction,
    "realtime": _realtime,
}
KINDS: tuple[str, ...] = tuple(_GIVE)
"""The kinds of feedback that these people give. ``"aspects"`` are ratings, one an aspect;
``"realtime"`` are ratings too, one a line while it is read."""
