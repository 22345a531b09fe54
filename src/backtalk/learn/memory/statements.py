"""Statements of single pieces of feedback: what each kind says, as lessons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatchmethod

from backtalk.feedback import Scope
from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.describe import shorten
from backtalk.feedback.kinds import (
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Label,
    Outcome,
    Rating,
    Spans,
    Steps,
)
from backtalk.learn.memory.edit_words import describe_edit
from backtalk.learn.memory.lesson import Lesson, make_lesson
from backtalk.learn.memory.speakers import Speakers
from backtalk.learn.memory.words import (
    facts,
    is_correction,
    is_thanks,
    sentences,
    standing_wishes,
)
from backtalk.memory import EntryKind
from backtalk.memory.requests import request_text

MAX_ANSWER = 2_000
"""Maximum length of an answer in an entry, in characters."""
_ACTS = frozenset({"correction", "clarification", "complaint"})
"""Dialogue acts that say something against an answer."""
_REMARKS = ("comment", "reason", "remark")
"""Keys of metadata under which applications store a remark on a judgement."""


def on_request(request: str, words: str) -> str:
    """Return words about the answer to a request, with the request."""
    return f"On “{shorten(request)}”: {words.strip()}"


@dataclass(frozen=True)
class StatementReader:
    """Reader of the statements in the feedback of cases.

    Parameters
    ----------
    speakers : Speakers
        People of the training set.
    leave_out : Callable[[str], None]
        Function that receives the reason for each piece of feedback that is left out.
    shared : sequence of Lesson, default ()
        Preferences and principles. Single edits and critiques are not repeated as corrections as
        far as these say the same.
    """

    speakers: Speakers
    leave_out: Callable[[str], None]
    shared: Sequence[Lesson] = ()

    def read(self, case: Case) -> list[Lesson]:
        """Return what the feedback on an interaction says."""
        corrected = any(_corrects(item) for item in case.feedback)
        return [
            lesson
            for item in case.feedback
            for lesson in (
                *self._read(item, case),
                *self._remark(item, case),
                *(self._success(item, case) if corrected else ()),
            )
        ]

    def read_system_wide(self, item: BaseFeedback) -> list[Lesson]:
        """Return what feedback on no interaction says."""
        if isinstance(item, Instruction):
            return [self._instruction(item, None, None)]
        if isinstance(item, Critique):
            return [self._lesson("principle", item.text, item, None)]
        return []

    def lesson_on(
        self, kind: EntryKind, request: str, text: str, item: BaseFeedback, user: str | None
    ) -> Lesson:
        """Return a lesson that is keyed by a request.

        Parameters
        ----------
        kind : EntryKind
            Kind of entry.
        request : str
            Request that it is about.
        text : str
            Statement.
        item : BaseFeedback
            Feedback that says it.
        user : str or None
            User of the interaction.
        """
        return self._lesson(kind, text, item, user, Scope(inside=(request,) if request else ()))

    @singledispatchmethod
    def _read(self, item: BaseFeedback, case: Case) -> Iterator[Lesson]:  # noqa: ARG002
        yield from ()

    @_read.register
    def _(self, item: Instruction, case: Case) -> Iterator[Lesson]:
        yield self._instruction(item, request_text(case.interaction.prompt), case.interaction.user)

    @_read.register
    def _(self, item: Critique, case: Case) -> Iterator[Lesson]:
        if self._known(item):
            self.leave_out("corrections that a preference or principle covers")
            return
        words = item.text
        if item.response is not None and item.start is not None and item.end is not None:
            words = f"about “{shorten(case.text(item.response)[item.start : item.end])}”: {words}"
        elif item.step is not None:
            words = f"about step {item.step + 1}: {words}"
        yield self._correction(words, item, case)

    @_read.register
    def _(self, item: Edit, case: Case) -> Iterator[Lesson]:
        words = describe_edit(case.text(item.response), item.text, known=self._known(item))
        if words == "":
            self.leave_out("corrections that a preference or principle covers")
        elif words is not None:
            yield self._correction(words, item, case)
        elif item.text.strip():
            yield from self._solved(item.text, item, case)

    @_read.register
    def _(self, item: Demonstration, case: Case) -> Iterator[Lesson]:
        yield from self._solved(item.text, item, case)

    @_read.register
    def _(self, item: Spans, case: Case) -> Iterator[Lesson]:
        text = case.text(item.response)
        for span in item.spans:
            quoted = shorten(text[span.start : span.end])
            if span.comment:
                yield self._correction(f"about “{quoted}”: {span.comment}", item, case)
            elif not span.good:
                yield self._correction(f"“{quoted}” was marked as {span.label}.", item, case)

    @_read.register
    def _(self, item: Steps, case: Case) -> Iterator[Lesson]:
        text = case.text(item.response)
        for step in item.steps:
            if step.verdict == "wrong":
                words = f"the step “{shorten(text[step.start : step.end])}” is wrong."
                yield self._correction(f"{words} {step.comment or ''}".strip(), item, case)

    @_read.register
    def _(self, item: Outcome, case: Case) -> Iterator[Lesson]:
        if item.passed is False and item.text.strip():
            words = f"an earlier answer failed a check: {shorten(item.text, 300)}"
            yield self._correction(words, item, case)

    @_read.register
    def _(self, item: FollowUp, case: Case) -> Iterator[Lesson]:
        user = case.interaction.user
        for text in standing_wishes(item.text):
            yield self._lesson("preference", text, item, user)
        for text in facts(item.text):
            if self.speakers.users(item, user):
                yield self._lesson("fact", f"The user says: {text}", item, user)
        if item.act == "rephrasing":
            yield self._correction(f"the user means: {item.text}", item, case)
        elif item.act in _ACTS or (item.act in {None, "other"} and is_correction(item.text)):
            other = {*standing_wishes(item.text), *facts(item.text)}
            rest = " ".join(one for one in sentences(item.text) if one not in other)
            if rest:
                yield self._correction(rest, item, case)

    def _remark(self, item: BaseFeedback, case: Case) -> Iterator[Lesson]:
        """Yield what a person wrote beside a judgement."""
        if isinstance(item, Label | Rating | Outcome):
            for key in _REMARKS:
                words = item.metadata.get(key)
                if isinstance(words, str) and words.strip():
                    yield self._correction(words, item, case)

    def _success(self, item: BaseFeedback, case: Case) -> Iterator[Lesson]:
        """Yield the answer that was good after another one was corrected."""
        if isinstance(item, Label | Outcome | Rating) and _is_good(item):
            yield from self._solved(case.text(item.response), item, case)

    def after(self, case: Case, earlier: Case) -> list[Lesson]:
        """Return the solved case of a good answer that follows a corrected one.

        Parameters
        ----------
        case : Case
            Interaction that continues another.
        earlier : Case
            Interaction that it continues.
        """
        good = [item for item in case.feedback if _is_good(item)]
        if not good or not any(_corrects(item) for item in earlier.feedback):
            return []
        response = getattr(good[0], "response", None)
        texts = [r.text for r in case.interaction.responses if response in {None, r.id}]
        if len(texts) != 1:
            return []
        return list(self._solved(texts[0], good[0], earlier))

    def _instruction(self, item: Instruction, request: str | None, user: str | None) -> Lesson:
        scope = item.scope
        users = scope.users
        if not users and (user is not None or item.interaction is None):
            users = self.speakers.users(item, user)
        # An instruction with a condition is in force for the request that prompted it.
        inside = scope.inside
        if request and (scope.where or scope.inside or scope.outside) and request not in inside:
            inside = (*inside, request)
        scope = scope.model_copy(update={"users": users, "inside": inside})
        confidence = self.speakers.reliability(item)
        lesson = make_lesson("instruction", item.text, [item], scope=scope, confidence=confidence)
        return replace(lesson, is_personal=bool(item.scope.users))

    def _known(self, item: BaseFeedback) -> frozenset[str]:
        """Return the texts of the preferences and principles that feedback is evidence of."""
        return frozenset(one.text for one in self.shared if item.id in one.feedback)

    def _correction(self, words: str, item: BaseFeedback, case: Case) -> Lesson:
        request = request_text(case.interaction.prompt)
        text = on_request(request, words) if request else words
        return self.lesson_on("correction", request, text, item, case.interaction.user)

    def _solved(self, answer: str, item: BaseFeedback, case: Case) -> Iterator[Lesson]:
        request = request_text(case.interaction.prompt)
        if not request or not answer.strip():
            self.leave_out("cases without a request or an answer")
        elif len(answer) + len(request) > MAX_ANSWER:
            self.leave_out(f"answers longer than {MAX_ANSWER:,} characters")
        else:
            yield self.lesson_on("case", request, answer, item, case.interaction.user)

    def _lesson(
        self,
        kind: EntryKind,
        text: str,
        item: BaseFeedback,
        user: str | None,
        scope: Scope | None = None,
    ) -> Lesson:
        lesson = make_lesson(
            kind, text, [item], scope=scope, confidence=self.speakers.reliability(item)
        )
        return lesson.about(self.speakers.users(item, user))


def _is_good(item: BaseFeedback) -> bool:
    if isinstance(item, Label):
        return item.good
    if isinstance(item, Rating):
        return item.normalised > 0.5
    if isinstance(item, FollowUp):
        return item.act == "thanks" or (item.act is None and is_thanks(item.text))
    return isinstance(item, Outcome) and item.passed is True


def _corrects(item: BaseFeedback) -> bool:
    """Return true if feedback says that an answer was not good."""
    if isinstance(item, FollowUp):
        acts = {"correction", "complaint", "rephrasing", "clarification"}
        return item.act in acts or (item.act is None and is_correction(item.text))
    if isinstance(item, Label):
        return not item.good
    if isinstance(item, Outcome):
        return item.passed is False
    return isinstance(item, Critique | Edit)
