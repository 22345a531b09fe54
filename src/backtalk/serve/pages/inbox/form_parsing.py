"""Parsing of submitted forms into feedback records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from backtalk.annotation.tasks import TaskKind
from backtalk.errors import RecordError
from backtalk.feedback import Annotator, AnyFeedback, content_id, parse_feedback
from backtalk.feedback.record import now
from backtalk.serve.pages.inbox.questions import Question, split_steps
from backtalk.serve.pages.page_request import Form
from backtalk.store.row_codec import microseconds

_VERDICTS = ("a", "b", "tie", "both_bad")
_STARS = ("1", "2", "3", "4", "5")

Fields = dict[str, Any]


def parse_form(question: Question, form: Form) -> list[AnyFeedback]:
    """Return the feedback in a form.

    Its id is derived from the item, the person and the attempt, so that a form submitted twice
    counts once. Its metadata has the task, the seconds taken, and the order of the responses.

    Raises
    ------
    RecordError
        If the form is empty or not valid.
    """
    assignment = question.assignment
    seconds = (now() - assignment.opened).total_seconds()
    metadata = {
        "task": question.task.id,
        "seconds": round(seconds, 1),
        "order": question.order,
    }
    attempt = (
        assignment.task,
        assignment.interaction,
        assignment.annotator,
        str(microseconds(assignment.opened)),
    )
    return [
        parse_feedback(
            {
                "id": content_id("inbox", *attempt, str(part)),
                "interaction": question.interaction.id,
                "annotator": Annotator.human(assignment.annotator).to_dict(),
                "metadata": metadata,
                **fields,
            }
        )
        for part, fields in enumerate(_PARSERS[question.task.kind](question, form))
    ]


def _compare(question: Question, form: Form) -> list[Fields]:
    verdict = form.text("verdict")
    if verdict not in _VERDICTS:
        raise RecordError("No verdict was given", "Choose one answer, a tie, or both bad")
    a, b = question.order
    return [{"kind": "preference", "a": a, "b": b, "verdict": verdict}]


def _rank(question: Question, form: Form) -> list[Fields]:
    tiers: dict[int, list[str]] = {}
    for number, id_ in enumerate(question.order):
        rank = form.text(f"rank-{number}").strip()
        if not rank:
            continue
        if not (rank.isascii() and rank.isdigit() and len(rank) <= 2 and int(rank)):
            raise RecordError(f"{rank!r} is not a rank", "Ranks are 1, 2, 3 and so on")
        tiers.setdefault(int(rank), []).append(id_)
    if sum(map(len, tiers.values())) < 2:
        raise RecordError("Fewer than two answers were ranked", "Rank at least two of them")
    return [{"kind": "ranking", "tiers": [tiers[rank] for rank in sorted(tiers)]}]


def _rate(question: Question, form: Form) -> list[Fields]:
    ratings = []
    for number, aspect in enumerate(question.task.aspects):
        value = form.text(f"aspect-{number}")
        if value in _STARS:
            ratings.append(_on_response(question, kind="rating", aspect=aspect, value=int(value)))
    if not ratings:
        raise RecordError("Nothing was rated", "Rate at least one aspect")
    return ratings


def _thumbs(question: Question, form: Form) -> list[Fields]:
    good = {"good": True, "bad": False}.get(form.text("thumb"))
    if good is None:
        raise RecordError("No thumb was given", "Choose good or bad")
    return [_on_response(question, kind="label", good=good)]


def _spans(question: Question, form: Form) -> list[Fields]:
    spans = []
    for text in form.all("span"):
        start, end, label = _numbers(text, 3)
        if label >= len(question.task.labels):
            raise RecordError(f"The mark {text!r} has a label that the task does not have")
        spans.append({"start": start, "end": end, "label": question.task.labels[label]})
    spans.sort(key=lambda span: (span["start"], span["end"]))
    return [_on_response(question, kind="spans", spans=spans)]


def _numbers(text: str, count: int) -> list[int]:
    parts = text.split(":")
    if len(parts) != count or not all(part.isascii() and part.isdigit() for part in parts):
        raise RecordError(f"{text!r} is not a mark", "Reload the page, and mark again")
    return [int(part[:9]) for part in parts]


def _steps(question: Question, form: Form) -> list[Fields]:
    text = question.shown[0].text
    steps = []
    for number, (start, end) in enumerate(split_steps(text)):
        verdict = form.text(f"step-{number}")
        if verdict not in {"right", "wrong", "neutral"}:
            raise RecordError(
                f"Step {number + 1} has no verdict", "Choose right, wrong or neutral for each step"
            )
        steps.append({"start": start, "end": end, "verdict": verdict})
    return [_on_response(question, kind="steps", steps=steps)]


def _rewrite(question: Question, form: Form) -> list[Fields]:
    if form.text("fine") == "yes":
        return [_on_response(question, kind="label", good=True)]
    text = form.text("text")
    if text == normalise_lines(question.shown[0].text):
        raise RecordError(
            "Nothing was changed", "Change the text, or choose that no change is needed"
        )
    return [_on_response(question, kind="edit", text=text)]


def normalise_lines(text: str) -> str:
    """Return a text with the line ends of a submitted form."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _critique(question: Question, form: Form) -> list[Fields]:
    text = form.text("text").strip()
    if not text:
        raise RecordError("Nothing was written", "Write a critique or a rule")
    if form.text("as") == "rule":
        where = form.text("where").strip()
        return [{"kind": "instruction", "text": text, "scope": {"where": where} if where else {}}]
    return [_on_response(question, kind="critique", text=text)]


def _on_response(question: Question, **fields: object) -> Fields:
    return {"response": question.shown[0].id, **fields}


_PARSERS: Mapping[TaskKind, Callable[[Question, Form], list[Fields]]] = {
    "compare": _compare,
    "rank": _rank,
    "rate": _rate,
    "thumbs": _thumbs,
    "spans": _spans,
    "steps": _steps,
    "rewrite": _rewrite,
    "critique": _critique,
}
