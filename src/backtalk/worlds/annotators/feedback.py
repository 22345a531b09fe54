"""Feedback of simulated people: one generator function for each kind."""

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
from backtalk.feedback.kinds import Verdict
from backtalk.worlds.annotators.person import Person
from backtalk.worlds.skills import VAGUE_CRITIQUES
from backtalk.worlds.world import Assessment, Issue, Rule, apply_fixes

REALTIME = Scale(name="realtime", low=-1, high=1)
"""Scale of approval signals given while an answer is read."""


@dataclass(frozen=True)
class _FeedbackContext:
    """Person, interaction and generator for one kind of feedback.

    The cached properties draw from the generator when they are first read.
    """

    person: Person
    interaction: Interaction
    rng: np.random.Generator

    @cached_property
    def common_fields(self) -> dict[str, Any]:
        """Common fields of all records."""
        delay = self.rng.exponential(self.person.delay) if self.person.delay else 0.0
        time = self.interaction.time and self.interaction.time + timedelta(seconds=delay)
        return {
            "interaction": self.interaction.id,
            "annotator": self.person.annotator,
            "time": time,
        }

    @cached_property
    def noisy_utilities(self) -> NDArray[np.float64]:
        """Perceived utility of each response with noise, ``(responses,)``."""
        utilities = self.person.perceived_utility(self.interaction)
        if self.person.temperature:
            utilities = utilities + self.person.temperature * self.rng.gumbel(size=utilities.shape)
        return utilities

    @cached_property
    def assessments(self) -> list[Assessment]:
        """Assessment of each response."""
        return self.person.score(self.interaction)

    @cached_property
    def response_fields(self) -> dict[str, Any]:
        """Common fields of records about the first response."""
        return self.common_fields | {"response": self.interaction.responses[0].id}

    @cached_property
    def implicit_fields(self) -> dict[str, Any]:
        """Common fields of records of observed behaviour."""
        return self.common_fields | {"annotator": Annotator.implicit(self.person.name)}

    def flips(self) -> bool:
        """Draw whether the next judgement is flipped."""
        return bool(self.rng.random() < self.person.noise)

    def is_acceptable(self, index: int) -> bool:
        """Return true if a response is judged good enough."""
        return bool(self.noisy_utilities[index] >= self.person.acceptance_threshold) != self.flips()

    def pick(self, choices: Sequence[Any]) -> Any:
        """Return a random choice."""
        return choices[int(self.rng.integers(len(choices)))]


def give_feedback(
    person: Person, kind: str, interaction: Interaction, *, seen: Sequence[AnyFeedback] = ()
) -> list[AnyFeedback]:
    """Return a person's feedback of a kind on an interaction; empty if there is no occasion.

    Parameters
    ----------
    person : Person
        Simulated annotator.
    kind : str
        One of :data:`FEEDBACK_KINDS`.
    interaction : Interaction
        Prompt of the person's world with its responses.
    seen : sequence of AnyFeedback, default ()
        Earlier feedback of others that the person sees.

    Raises
    ------
    UnknownName
        If the kind is unknown.
    RecordError
        If the prompt is not one of the world.
    """
    if kind not in _GENERATORS:
        raise UnknownName.among("kind of feedback", kind, FEEDBACK_KINDS)
    texts = [response.text for response in interaction.responses]
    rng = person.rng(kind, interaction.prompt[-1].text, *texts)
    if rng.random() < person.abstention:
        return []
    context = _FeedbackContext(person, interaction, rng)
    if rng.random() < person.sycophancy and (repeated := _repeat_last(context, kind, seen)):
        return repeated
    return [
        item.model_copy(update={"id": content_id(person.name, kind, interaction.id, str(i))})
        for i, item in enumerate(_GENERATORS[kind](context))
    ]


_OBSERVED_KINDS = {"outcome", "follow_up", "choice"}


def _repeat_last(
    context: _FeedbackContext, kind: str, seen: Sequence[AnyFeedback]
) -> list[AnyFeedback]:
    """Return copies of the last annotator's feedback of a kind.

    Observed behaviour and outcomes of checks are not opinions, and are not repeated.
    """
    opinions = [item for item in seen if item.kind == kind]
    if not opinions or kind in _OBSERVED_KINDS:
        return []
    last = [item for item in opinions if item.annotator == opinions[-1].annotator]
    ids = [
        content_id(context.person.name, kind, context.interaction.id, str(i))
        for i in range(len(last))
    ]
    return [
        item.model_copy(update={**context.common_fields, "id": id_})
        for item, id_ in zip(last, ids, strict=True)
    ]


def _label(context: _FeedbackContext) -> list[AnyFeedback]:
    return [
        Label(**context.common_fields, response=response.id, good=context.is_acceptable(index))
        for index, response in enumerate(context.interaction.responses)
    ]


def _to_stars(context: _FeedbackContext, value: float) -> int:
    stars = int(np.clip(round(1 + 4 * value), 1, 5))
    return 6 - stars if context.flips() else stars


def _rating(context: _FeedbackContext) -> list[AnyFeedback]:
    return [
        Rating(**context.common_fields, response=response.id, value=_to_stars(context, value))
        for response, value in zip(
            context.interaction.responses, context.noisy_utilities, strict=True
        )
    ]


def _aspect_ratings(context: _FeedbackContext) -> list[AnyFeedback]:
    return [
        Rating(
            **context.common_fields,
            response=response.id,
            value=_to_stars(context, value),
            aspect=name,
        )
        for response, assessment in zip(
            context.interaction.responses, context.assessments, strict=True
        )
        for name, value in assessment.aspects.items()
    ]


def _preference(context: _FeedbackContext) -> list[AnyFeedback]:
    """Compare the first two responses: one better, a tie, or both bad; nothing if there is one."""
    if len(context.interaction.responses) < 2:
        return []
    a, b = context.interaction.responses[:2]
    fields = context.common_fields | {"a": a.id, "b": b.id}
    difference = float(context.noisy_utilities[0] - context.noisy_utilities[1])
    if max(context.noisy_utilities[:2]) < context.person.acceptance_threshold - 0.4:
        return [Preference(**fields, verdict="both_bad")]
    if abs(difference) < context.person.tie_threshold:
        return [Preference(**fields, verdict="tie")]
    better: Verdict = "a" if (difference > 0) != context.flips() else "b"
    return [Preference(**fields, verdict=better, strength=float(np.clip(abs(difference), 0.01, 1)))]


def _ranking(context: _FeedbackContext) -> list[AnyFeedback]:
    """Rank all responses: ties share a tier, flips swap neighbours."""
    order = np.argsort(-context.noisy_utilities, kind="stable").tolist()
    for position in range(len(order) - 1):
        if context.flips():
            order[position], order[position + 1] = order[position + 1], order[position]
    tiers: list[list[int]] = []
    for i in order:
        if tiers and _is_tie(context, tiers[-1][0], i):
            tiers[-1].append(i)
        else:
            tiers.append([i])
    ids = [response.id for response in context.interaction.responses]
    if len(ids) < 2:
        return []
    return [
        Ranking(**context.common_fields, tiers=tuple(tuple(ids[i] for i in tier) for tier in tiers))
    ]


def _is_tie(context: _FeedbackContext, i: int, j: int) -> bool:
    return bool(
        abs(context.noisy_utilities[i] - context.noisy_utilities[j]) < context.person.tie_threshold
    )


def _critique(context: _FeedbackContext) -> list[AnyFeedback]:
    """Criticise the first response in the person's style; nothing if it has no issue."""
    assessment = context.assessments[0]
    style = "wrong" if context.flips() else context.person.critique_style
    if style == "wrong":
        issue = _false_issue(context)
        return [_issue_critique(context, issue, issue.advice)] if issue else []
    if not assessment.issues:
        return []
    if style == "vague":
        return [Critique(**context.response_fields, text=context.pick(VAGUE_CRITIQUES))]
    worst = max(assessment.issues, key=lambda issue: _utility_gain(context, issue))
    return [
        _issue_critique(
            context, worst, worst.advice if style == "directional" else worst.description
        )
    ]


def _issue_critique(context: _FeedbackContext, issue: Issue, text: str) -> Critique:
    span = {"start": issue.start, "end": issue.end} if issue.start < issue.end else {}
    return Critique(**(context.response_fields | span), text=text, aspect=issue.aspect)


def _false_issue(context: _FeedbackContext) -> Issue | None:
    world = context.person.world
    task = world.parse_prompt(context.interaction.prompt)
    return world.false_critique(task, context.interaction.responses[0].text, context.rng)


def _utility_gain(context: _FeedbackContext, issue: Issue) -> float:
    """Return the utility that the first response gains by the fix of an issue."""
    text = context.interaction.responses[0].text
    fixed = context.person.world.score(
        context.interaction.prompt, apply_fixes(text, [issue]), context.person.rules
    )
    return fixed.utility - context.assessments[0].utility


def _edit(context: _FeedbackContext) -> list[AnyFeedback]:
    """Edit the first response into one without issues; a flip makes it worse."""
    text = context.interaction.responses[0].text
    if context.flips():
        issue = _false_issue(context)
        edited = apply_fixes(text, [issue]) if issue else text
    elif context.person.edit_style == "minimal":
        edited = apply_fixes(text, context.assessments[0].issues)
    else:
        edited = _ideal(context)
    return [Edit(**context.response_fields, text=edited)] if edited != text else []


def _ideal(context: _FeedbackContext) -> str:
    world = context.person.world
    task = world.parse_prompt(context.interaction.prompt)
    rules = (*world.stated_rules(context.interaction.prompt), *context.person.rules)
    return world.ideal(task, world.applicable_rules(task, rules))


def _demonstration(context: _FeedbackContext) -> list[AnyFeedback]:
    return [Demonstration(**context.common_fields, text=_ideal(context))]


def _spans(context: _FeedbackContext) -> list[AnyFeedback]:
    """Mark the issues in the first response, except missing parts."""
    marks = [
        Span(
            start=issue.start,
            end=issue.end,
            label=issue.label,
            severity=float(np.clip(_utility_gain(context, issue), 0, 1)),
        )
        for issue in context.assessments[0].issues
        if issue.start < issue.end and not context.flips()
    ]
    if context.flips() and (issue := _false_issue(context)) and issue.start < issue.end:
        marks.append(Span(start=issue.start, end=issue.end, label=issue.label))
    return [
        Spans(**context.response_fields, spans=tuple(sorted(marks, key=lambda mark: mark.start)))
    ]


_VERDICTS = {"right": "right", "wrong": "wrong", "follows": "neutral"}
_OPPOSITE = {"right": "wrong", "wrong": "right", "neutral": "wrong"}


def _steps(context: _FeedbackContext) -> list[AnyFeedback]:
    """Check each step of the first response; one that follows from a wrong step is neutral."""
    steps = []
    for step in context.assessments[0].steps:
        verdict: Any = _VERDICTS[step.truth]
        if context.flips():
            verdict = _OPPOSITE[verdict]
        steps.append(Step(start=step.start, end=step.end, verdict=verdict))
    return [Steps(**context.response_fields, steps=tuple(steps))] if steps else []


def _outcome(context: _FeedbackContext) -> list[AnyFeedback]:
    """Check each response automatically, with the error text; a flip is a flaky test."""
    verifier = Annotator.verifier(f"{context.person.world_name}-check")
    return [
        Outcome(
            **(context.common_fields | {"annotator": verifier}),
            response=response.id,
            passed=assessment.passed != context.flips(),
            text=assessment.trace,
        )
        for response, assessment in zip(
            context.interaction.responses, context.assessments, strict=True
        )
    ]


def _follow_up(context: _FeedbackContext) -> list[AnyFeedback]:
    """Thank, complain, or rephrase the request."""
    fields = context.implicit_fields | {"response": context.interaction.responses[0].id}
    if context.is_acceptable(0):
        return [FollowUp(**fields, text="Thank you!", act="thanks")]
    world = context.person.world
    if context.rng.random() < 0.5:
        text = world.rephrase(world.parse_prompt(context.interaction.prompt))
        return [FollowUp(**fields, text=text, act="rephrasing")]
    issues = context.assessments[0].issues
    text = f"That is not right. {issues[0].description}" if issues else "That is not right."
    return [FollowUp(**fields, text=text, act="complaint")]


def _choice(context: _FeedbackContext) -> list[AnyFeedback]:
    """Choose the best of the responses shown, or none if none is acceptable."""
    response_ids = [response.id for response in context.interaction.responses]
    ids = tuple(response_ids) if context.interaction.shown is None else context.interaction.shown
    if not ids:
        return []
    utilities = [context.noisy_utilities[response_ids.index(id_)] for id_ in ids]
    best = int(context.rng.integers(len(ids))) if context.flips() else int(np.argmax(utilities))
    chosen = ids[best] if utilities[best] >= context.person.acceptance_threshold else None
    shown = tuple(Shown(response=id_) for id_ in ids)
    return [Choice(**context.implicit_fields, chosen=chosen, shown=shown)]


def _instruction(context: _FeedbackContext) -> list[AnyFeedback]:
    """State the rules that the first response breaks."""
    world = context.person.world
    task = world.parse_prompt(context.interaction.prompt)
    text = context.interaction.responses[0].text
    items = []
    for rule in world.applicable_rules(task, context.person.rules):
        if _breaks_rule(context, rule, text):
            scope = Scope() if rule.scope == "all" else Scope(where=rule.scope)
            items.append(Instruction(**context.common_fields, text=rule.text, scope=scope))
    return list(items)


def _breaks_rule(context: _FeedbackContext, rule: Rule, text: str) -> bool:
    """Return true if an answer has an issue that it would not have without a rule."""
    world, prompt = context.person.world, context.interaction.prompt
    default = {(issue.label, issue.advice) for issue in world.score(prompt, text).issues}
    ruled = {(issue.label, issue.advice) for issue in world.score(prompt, text, (rule,)).issues}
    return bool(ruled - default)


_MAX_COST = 0.1
"""Utility cost of a line at which the signal is lowest."""


def _realtime(context: _FeedbackContext) -> list[AnyFeedback]:
    """Signal approval while the first response is read, one number for each line.

    Like the human signals of Knox and Stone (2009), "Interactively shaping agents via human
    reinforcement: the TAMER framework", each follows the part that it rates.
    """
    text = context.interaction.responses[0].text
    signals = []
    start = 0
    for line in text.splitlines(keepends=True):
        end = start + len(line)
        last = end == len(text)
        cost = sum(
            _utility_gain(context, issue)
            for issue in context.assessments[0].issues
            if start <= issue.start < end or (last and issue.start >= end)
        )
        value = 1 - 2 * min(1.0, max(cost, 0.0) / _MAX_COST)
        value += context.person.temperature * float(context.rng.normal())
        value = -value if context.flips() else value
        signals.append(
            Rating(
                **context.response_fields,
                value=float(np.clip(value, -1, 1)),
                scale=REALTIME,
                aspect="realtime",
                metadata={"start": start, "end": end},
            )
        )
        start = end
    return list(signals)


_GENERATORS: Mapping[str, Callable[[_FeedbackContext], list[AnyFeedback]]] = {
    "label": _label,
    "rating": _rating,
    "aspects": _aspect_ratings,
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
FEEDBACK_KINDS: tuple[str, ...] = tuple(_GENERATORS)
"""Kinds of simulated feedback. ``"aspects"`` are ratings, one for each aspect; ``"realtime"`` are
ratings as well, one for each line."""
