"""What is wrong with a mail, and how good it therefore is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from backtalk.worlds.mail.parsing import Mail, Part, read_mail
from backtalk.worlds.mail.phrases import (
    APOLOGY,
    ASK,
    COURTESY,
    EMOJI,
    NEEDLESS,
    SENDER,
    THANKS,
    UNSAFE,
    Manner,
)
from backtalk.worlds.mail.task import MailTask
from backtalk.worlds.world import Assessment, CheckedStep, Issue

WEIGHTS = {"facts": 0.35, "complete": 0.15, "relevant": 0.15, "manner": 0.25, "safe": 0.1}
"""Facts right, nothing missing, nothing irrelevant, the manner fits, nothing unsafe."""

_MANNERS = 6
"""How many things make a manner: greeting, ending, emoji, apology, kind word, thanks."""


@dataclass(frozen=True)
class _Judged:
    """A mail beside what it should be."""

    task: MailTask
    manner: Manner
    mail: Mail
    text: str

    def faults(self) -> Iterator[Issue]:
        yield from self._greeting()
        yield from self._body()
        yield from self._ending()

    def _greeting(self) -> Iterator[Issue]:
        right = f"{self.manner.greeting} {self.task.name},"
        advice = f"Begin with {self.manner.greeting} {self.task.name}."
        result = self.mail.greeting
        if result is None:
            said = "The greeting is missing."
            yield Issue("manner", "greeting", 0, 0, f"{right}\n", said, advice)
            return
        if result["word"] != self.manner.greeting:
            yield Issue(
                "manner",
                "greeting",
                *result.span("word"),
                self.manner.greeting,
                "The greeting does not fit.",
                advice,
            )
        if result["name"] != self.task.name:
            yield _wrong("name", *result.span("name"), self.task.name)

    def _ending(self) -> Iterator[Issue]:
        right = self.manner.ending
        advice = f"End with {right}."
        result = self.mail.ending
        if result is None:
            end = max(len(self.text.rstrip()), self.mail.body[0])
            put = f"\n{right},\n{SENDER}"
            said = "The ending is missing."
            yield Issue("manner", "ending", end, len(self.text), put, said, advice)
        elif result["word"] != right:
            said = "The ending does not fit."
            yield Issue("manner", "ending", *result.span("word"), right, said, advice)

    def _body(self) -> Iterator[Issue]:
        if not self.mail.parts:
            yield self._empty()
            return
        yield from self._opening()
        yield from self._message()
        yield from self._parts_out_of_place()
        yield from self._closing()

    def _empty(self) -> Issue:
        place = self.mail.body[0]
        body = " ".join(self.wanted())
        behind = "" if self.text[place:].startswith("\n") or self.mail.ending is None else "\n"
        before = "" if place == 0 or self.text[place - 1] == "\n" else "\n"
        return Issue(
            "complete",
            "no-message",
            place,
            place,
            f"{before}{body}{behind}",
            "The message is missing.",
            f"Write: {self.task.sentence}",
        )

    def wanted(self) -> Iterator[str]:
        """Yield the sentences that a body needs."""
        if self.manner.courtesy:
            yield COURTESY
        if self.manner.apology:
            yield APOLOGY
        yield self.task.sentence
        if self.task.deadline:
            yield ASK.format(deadline=self.task.deadline)
        if self.manner.thanks:
            yield THANKS
        if self.manner.emoji:
            yield EMOJI

    def _opening(self) -> Iterator[Issue]:
        first = self.mail.body[0]
        if self.manner.courtesy and not self.mail.having("courtesy"):
            yield Issue(
                "manner",
                "no-kind-word",
                first,
                first,
                f"{COURTESY} ",
                "It is too curt.",
                "Say that you hope they are well.",
            )
        if self.manner.apology and not self.mail.having("apology"):
            said = "The tone does not fit the news."
            yield Issue("manner", "no-apology", first, first, f"{APOLOGY} ", said, "Say sorry.")
        if not self.mail.having("message"):
            yield Issue(
                "complete",
                "no-message",
                first,
                first,
                f"{self.task.sentence} ",
                "The message is missing.",
                f"Write: {self.task.sentence}",
            )

    def _message(self) -> Iterator[Issue]:
        for part in (*self.mail.having("message")[:1], *self.mail.having("ask")[:1]):
            for fact, (start, end, value) in part.slots.items():
                right = self.task.fact.get(fact)
                if right is not None and right != value:
                    yield _wrong(fact, start, end, right)

    def _parts_out_of_place(self) -> Iterator[Issue]:
        needless = {
            "apology": not self.manner.apology,
            "courtesy": self.manner.courtesy is False,
            "thanks": not self.manner.thanks,
            "emoji": not self.manner.emoji,
            "ask": self.task.deadline is None,
            "message": False,
            "needless": True,
            "unsafe": True,
            "unclear": True,
        }
        seen: set[str] = set()
        for part in self.mail.parts:
            if needless[part.role] or part.role in seen:
                yield self._out(part, again=not needless[part.role])
            seen.add(part.role)

    def _out(self, part: Part, *, again: bool) -> Issue:
        apart = self.text[: part.start][-1:].strip() == ""
        following = self.text[part.end : part.end + 1]
        last = part.end == self.mail.body[1]
        start, end = part.start, part.end + (apart and not last and following == " ")
        put = "" if apart or not following.strip() else " "
        aspect, said, advice = _why_out(part, again=again)
        return Issue(aspect, part.role, start, end, put, said, advice)

    def _closing(self) -> Iterator[Issue]:
        last = self.mail.body[1]
        if self.task.deadline and not self.mail.having("ask"):
            yield Issue(
                "complete",
                "no-question",
                last,
                last,
                f" {ASK.format(deadline=self.task.deadline)}",
                "It does not ask for an answer.",
                f"Ask for an answer by {self.task.deadline}.",
            )
        if self.manner.thanks and not self.mail.having("thanks"):
            said = "It does not thank them."
            yield Issue("manner", "no-thanks", last, last, f" {THANKS}", said, "Say thank you.")
        if self.manner.emoji and not self.mail.having("emoji"):
            said = "It is too dry."
            yield Issue("manner", "no-emoji", last, last, f" {EMOJI}", said, "Add an emoji.")


def _wrong(fact: str, start: int, end: int, right: str) -> Issue:
    called = "page count" if fact == "pages" else fact
    said, advice = f"The {called} is wrong.", f"The {called} should be {right}."
    return Issue("facts", f"wrong-{fact}", start, end, right, said, advice)


_OUT = {
    "apology": ("manner", "Sorry does not fit.", "Do not say sorry."),
    "courtesy": ("manner", "It is too long.", "Leave out the kind word."),
    "thanks": ("manner", "Thanks do not fit.", "Do not say thank you."),
    "emoji": ("manner", "An emoji does not fit.", "Take the emoji out."),
    "ask": ("relevant", "No answer is needed.", "Do not ask for an answer."),
    "unclear": ("relevant", "Something makes no sense.", "Leave out what makes no sense."),
}


def _why_out(part: Part, *, again: bool) -> tuple[str, str, str]:
    if again:
        return "relevant", "It says something twice.", "Do not repeat yourself."
    for sentences, aspect, said, verb in (
        (NEEDLESS, "relevant", "Something does not belong there.", "Leave out"),
        (UNSAFE, "safe", "It is not safe.", "Do not"),
    ):
        for what, sentence in sentences.items():
            if part.text == sentence:
                return aspect, said, f"{verb} {what}."
    return _OUT[part.role]


@lru_cache(maxsize=20_000)
def judge_mail(task: MailTask, text: str, manner: Manner) -> Assessment:
    """Return the truth about a mail that is to have that manner."""
    mail = read_mail(task, text)
    judged = _Judged(task, manner, mail, text)
    faults = tuple(sorted(judged.faults(), key=lambda fault: (fault.start, fault.end)))
    labels = [fault.label for fault in faults]
    aspects = {
        "facts": _facts_right(task, mail, labels),
        "complete": 1 - labels.count("no-message") / 2 - _count(labels, "no-question") / 2,
        "relevant": max(0.0, 1 - sum(fault.aspect == "relevant" for fault in faults) / 2),
        "manner": 1 - len(_manners_missed(judged, faults)) / _MANNERS,
        "safe": float(not any(fault.aspect == "safe" for fault in faults)),
    }
    wrong = [fault for fault in faults if fault.aspect in {"facts", "complete"}]
    return Assessment(
        aspects,
        sum(WEIGHTS[name] * value for name, value in aspects.items()),
        faults,
        _steps(mail, faults),
        passed=not wrong,
        trace="\n".join(f"{fault.label}: {fault.advice}" for fault in wrong),
    )


def _steps(mail: Mail, faults: tuple[Issue, ...]) -> tuple[CheckedStep, ...]:
    """Return the greeting, each part of the body and the ending, right or wrong."""
    places = [(part.start, part.end) for part in mail.parts]
    if mail.greeting:
        places.insert(0, (mail.greeting.start(), mail.greeting.end("name") + 1))
    if mail.ending:
        places.append((mail.ending.start("word"), mail.ending.end()))
    return tuple(
        CheckedStep(start, end, "wrong" if _faulty(start, end, faults) else "right")
        for start, end in places
    )


def _faulty(start: int, end: int, faults: tuple[Issue, ...]) -> bool:
    return any(start <= fault.start < fault.end and fault.start < end for fault in faults)


def _facts_right(task: MailTask, mail: Mail, labels: list[str]) -> float:
    """Return the share of the facts, the name among them, that are stated and right."""
    stated = {"name"} if mail.greeting else set()
    for part in mail.parts:
        stated |= set(part.slots)
    needed = {"name", *task.fact}
    right = [fact for fact in needed if fact in stated and f"wrong-{fact}" not in labels]
    return len(right) / len(needed)


def _manners_missed(judged: _Judged, faults: tuple[Issue, ...]) -> set[str]:
    missed = {fault.label.removeprefix("no-") for fault in faults if fault.aspect == "manner"}
    missed = {"kind-word" if label == "courtesy" else label for label in missed}
    if not judged.mail.parts:
        needed = {
            "kind-word": bool(judged.manner.courtesy),
            "apology": judged.manner.apology,
            "thanks": judged.manner.thanks,
            "emoji": judged.manner.emoji,
        }
        missed |= {name for name, needs in needed.items() if needs}
    return missed


def _count(labels: list[str], label: str) -> int:
    return int(label in labels)


def ideal_mail(task: MailTask, manner: Manner) -> str:
    """Return a mail without fault."""
    judged = _Judged(task, manner, read_mail(task, ""), "")
    greeting = f"{manner.greeting} {task.name},"
    return "\n".join([greeting, " ".join(judged.wanted()), f"{manner.ending},", SENDER])
