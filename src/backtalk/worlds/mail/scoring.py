"""True utility of a mail, with its issues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from backtalk.worlds.mail.parsing import MailPart, ParsedMail, read_mail
from backtalk.worlds.mail.phrases import (
    APOLOGY,
    ASK,
    COURTESY,
    EMOJI,
    NEEDLESS,
    SENDER,
    THANKS,
    UNSAFE,
    MailStyle,
)
from backtalk.worlds.mail.task import MailTask
from backtalk.worlds.world import Assessment, CheckedStep, Issue

WEIGHTS = {"facts": 0.35, "complete": 0.15, "relevant": 0.15, "manner": 0.25, "safe": 0.1}
"""Weights of: right facts, nothing missing, nothing irrelevant, suitable style, nothing unsafe."""

_STYLE_FEATURES = 6
"""Number of style features: greeting, ending, emoji, apology, kind word, thanks."""


@dataclass(frozen=True)
class _IssueFinder:
    """Finder of the issues of a mail."""

    task: MailTask
    style: MailStyle
    mail: ParsedMail
    text: str

    def issues(self) -> Iterator[Issue]:
        yield from self._greeting_issues()
        yield from self._body_issues()
        yield from self._ending_issues()

    def _greeting_issues(self) -> Iterator[Issue]:
        right = f"{self.style.greeting} {self.task.name},"
        advice = f"Begin with {self.style.greeting} {self.task.name}."
        result = self.mail.greeting
        if result is None:
            description = "The greeting is missing."
            yield Issue("manner", "greeting", 0, 0, f"{right}\n", description, advice)
            return
        if result["word"] != self.style.greeting:
            yield Issue(
                "manner",
                "greeting",
                *result.span("word"),
                self.style.greeting,
                "The greeting does not fit.",
                advice,
            )
        if result["name"] != self.task.name:
            yield _wrong_fact_issue("name", *result.span("name"), self.task.name)

    def _ending_issues(self) -> Iterator[Issue]:
        right = self.style.ending
        advice = f"End with {right}."
        result = self.mail.ending
        if result is None:
            end = max(len(self.text.rstrip()), self.mail.body[0])
            replacement = f"\n{right},\n{SENDER}"
            description = "The ending is missing."
            yield Issue("manner", "ending", end, len(self.text), replacement, description, advice)
        elif result["word"] != right:
            description = "The ending does not fit."
            yield Issue("manner", "ending", *result.span("word"), right, description, advice)

    def _body_issues(self) -> Iterator[Issue]:
        if not self.mail.parts:
            yield self._empty_body_issue()
            return
        yield from self._opening_issues()
        yield from self._message_issues()
        yield from self._misplaced_parts()
        yield from self._closing_issues()

    def _empty_body_issue(self) -> Issue:
        position = self.mail.body[0]
        body = " ".join(self.required_sentences())
        after = "" if self.text[position:].startswith("\n") or self.mail.ending is None else "\n"
        before = "" if position == 0 or self.text[position - 1] == "\n" else "\n"
        return Issue(
            "complete",
            "no-message",
            position,
            position,
            f"{before}{body}{after}",
            "The message is missing.",
            f"Write: {self.task.sentence}",
        )

    def required_sentences(self) -> Iterator[str]:
        """Yield the required sentences of the body."""
        if self.style.courtesy:
            yield COURTESY
        if self.style.apology:
            yield APOLOGY
        yield self.task.sentence
        if self.task.deadline:
            yield ASK.format(deadline=self.task.deadline)
        if self.style.thanks:
            yield THANKS
        if self.style.emoji:
            yield EMOJI

    def _opening_issues(self) -> Iterator[Issue]:
        first = self.mail.body[0]
        if self.style.courtesy and not self.mail.parts_with_role("courtesy"):
            yield Issue(
                "manner",
                "no-kind-word",
                first,
                first,
                f"{COURTESY} ",
                "It is too curt.",
                "Say that you hope they are well.",
            )
        if self.style.apology and not self.mail.parts_with_role("apology"):
            description = "The tone does not fit the news."
            yield Issue(
                "manner", "no-apology", first, first, f"{APOLOGY} ", description, "Say sorry."
            )
        if not self.mail.parts_with_role("message"):
            yield Issue(
                "complete",
                "no-message",
                first,
                first,
                f"{self.task.sentence} ",
                "The message is missing.",
                f"Write: {self.task.sentence}",
            )

    def _message_issues(self) -> Iterator[Issue]:
        for part in (
            *self.mail.parts_with_role("message")[:1],
            *self.mail.parts_with_role("ask")[:1],
        ):
            for fact, (start, end, value) in part.stated_facts.items():
                right = self.task.fact.get(fact)
                if right is not None and right != value:
                    yield _wrong_fact_issue(fact, start, end, right)

    def _misplaced_parts(self) -> Iterator[Issue]:
        superfluous = {
            "apology": not self.style.apology,
            "courtesy": self.style.courtesy is False,
            "thanks": not self.style.thanks,
            "emoji": not self.style.emoji,
            "ask": self.task.deadline is None,
            "message": False,
            "needless": True,
            "unsafe": True,
            "unclear": True,
        }
        seen: set[str] = set()
        for part in self.mail.parts:
            if superfluous[part.role] or part.role in seen:
                yield self._removal_issue(part, again=not superfluous[part.role])
            seen.add(part.role)

    def _removal_issue(self, part: MailPart, *, again: bool) -> Issue:
        apart = self.text[: part.start][-1:].strip() == ""
        following = self.text[part.end : part.end + 1]
        last = part.end == self.mail.body[1]
        start, end = part.start, part.end + (apart and not last and following == " ")
        replacement = "" if apart or not following.strip() else " "
        aspect, description, advice = _removal_reason(part, again=again)
        return Issue(aspect, part.role, start, end, replacement, description, advice)

    def _closing_issues(self) -> Iterator[Issue]:
        last = self.mail.body[1]
        if self.task.deadline and not self.mail.parts_with_role("ask"):
            yield Issue(
                "complete",
                "no-question",
                last,
                last,
                f" {ASK.format(deadline=self.task.deadline)}",
                "It does not ask for an answer.",
                f"Ask for an answer by {self.task.deadline}.",
            )
        if self.style.thanks and not self.mail.parts_with_role("thanks"):
            description = "It does not thank them."
            yield Issue(
                "manner", "no-thanks", last, last, f" {THANKS}", description, "Say thank you."
            )
        if self.style.emoji and not self.mail.parts_with_role("emoji"):
            description = "It is too dry."
            yield Issue("manner", "no-emoji", last, last, f" {EMOJI}", description, "Add an emoji.")


def _wrong_fact_issue(fact: str, start: int, end: int, right: str) -> Issue:
    called = "page count" if fact == "pages" else fact
    description, advice = f"The {called} is wrong.", f"The {called} should be {right}."
    return Issue("facts", f"wrong-{fact}", start, end, right, description, advice)


_REMOVALS = {
    "apology": ("manner", "Sorry does not fit.", "Do not say sorry."),
    "courtesy": ("manner", "It is too long.", "Leave out the kind word."),
    "thanks": ("manner", "Thanks do not fit.", "Do not say thank you."),
    "emoji": ("manner", "An emoji does not fit.", "Take the emoji out."),
    "ask": ("relevant", "No answer is needed.", "Do not ask for an answer."),
    "unclear": ("relevant", "Something makes no sense.", "Leave out what makes no sense."),
}


def _removal_reason(part: MailPart, *, again: bool) -> tuple[str, str, str]:
    if again:
        return "relevant", "It says something twice.", "Do not repeat yourself."
    for sentences, aspect, description, verb in (
        (NEEDLESS, "relevant", "Something does not belong there.", "Leave out"),
        (UNSAFE, "safe", "It is not safe.", "Do not"),
    ):
        for what, sentence in sentences.items():
            if part.text == sentence:
                return aspect, description, f"{verb} {what}."
    return _REMOVALS[part.role]


@lru_cache(maxsize=20_000)
def score_mail(task: MailTask, text: str, style: MailStyle) -> Assessment:
    """Return the assessment of a mail.

    Parameters
    ----------
    task : MailTask
        Task that the text answers.
    text : str
        Text of the mail.
    style : MailStyle
        Required style.
    """
    mail = read_mail(task, text)
    finder = _IssueFinder(task, style, mail, text)
    issues = tuple(sorted(finder.issues(), key=lambda issue: (issue.start, issue.end)))
    labels = [issue.label for issue in issues]
    aspects = {
        "facts": _facts_score(task, mail, labels),
        "complete": 1 - labels.count("no-message") / 2 - _has_label(labels, "no-question") / 2,
        "relevant": max(0.0, 1 - sum(issue.aspect == "relevant" for issue in issues) / 2),
        "manner": 1 - len(_missed_style_features(finder, issues)) / _STYLE_FEATURES,
        "safe": float(not any(issue.aspect == "safe" for issue in issues)),
    }
    wrong = [issue for issue in issues if issue.aspect in {"facts", "complete"}]
    return Assessment(
        aspects,
        sum(WEIGHTS[name] * value for name, value in aspects.items()),
        issues,
        _steps(mail, issues),
        passed=not wrong,
        trace="\n".join(f"{issue.label}: {issue.advice}" for issue in wrong),
    )


def _steps(mail: ParsedMail, issues: tuple[Issue, ...]) -> tuple[CheckedStep, ...]:
    """Return the truth of the greeting, each part of the body and the ending."""
    positions = [(part.start, part.end) for part in mail.parts]
    if mail.greeting:
        positions.insert(0, (mail.greeting.start(), mail.greeting.end("name") + 1))
    if mail.ending:
        positions.append((mail.ending.start("word"), mail.ending.end()))
    return tuple(
        CheckedStep(start, end, "wrong" if _has_issue(start, end, issues) else "right")
        for start, end in positions
    )


def _has_issue(start: int, end: int, issues: tuple[Issue, ...]) -> bool:
    return any(start <= issue.start < issue.end and issue.start < end for issue in issues)


def _facts_score(task: MailTask, mail: ParsedMail, labels: list[str]) -> float:
    """Return the share of facts, the name included, that are stated and right."""
    stated = {"name"} if mail.greeting else set()
    for part in mail.parts:
        stated |= set(part.stated_facts)
    needed = {"name", *task.fact}
    right = [fact for fact in needed if fact in stated and f"wrong-{fact}" not in labels]
    return len(right) / len(needed)


def _missed_style_features(finder: _IssueFinder, issues: tuple[Issue, ...]) -> set[str]:
    missed = {issue.label.removeprefix("no-") for issue in issues if issue.aspect == "manner"}
    missed = {"kind-word" if label == "courtesy" else label for label in missed}
    if not finder.mail.parts:
        needed = {
            "kind-word": bool(finder.style.courtesy),
            "apology": finder.style.apology,
            "thanks": finder.style.thanks,
            "emoji": finder.style.emoji,
        }
        missed |= {name for name, needs in needed.items() if needs}
    return missed


def _has_label(labels: list[str], label: str) -> int:
    return int(label in labels)


def ideal_mail(task: MailTask, style: MailStyle) -> str:
    """Return a mail without issues."""
    finder = _IssueFinder(task, style, read_mail(task, ""), "")
    greeting = f"{style.greeting} {task.name},"
    return "\n".join([greeting, " ".join(finder.required_sentences()), f"{style.ending},", SENDER])
