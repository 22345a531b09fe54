"""Retrospection: what users did next tells which of their past answers were good."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from pydantic import JsonValue

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import Choice, FollowUp
from backtalk.feedback.views import CritiqueView, SFTExample
from backtalk.learn.memory.collecting import Collection
from backtalk.learn.memory.edit_words import edit_similarity
from backtalk.learn.memory.lesson import Lesson, merge
from backtalk.learn.memory.option_types import RecallLimit, Withhold
from backtalk.learn.memory.options import RecallOptions
from backtalk.learn.memory.requirements import reading
from backtalk.learn.memory.statements import StatementReader, on_request
from backtalk.learn.memory.words import is_correction, is_thanks
from backtalk.learn.memory.writing import write_lessons
from backtalk.learn.method import Paper, method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory.requests import request_text
from backtalk.policy import Policy
from backtalk.run import Run

PAPER = Paper(
    "Retrospective learning from interactions",
    "Chen et al.",
    2024,
    "https://arxiv.org/abs/2410.13852",
)
Signal = Literal["positive", "negative", "neutral"]
_REPHRASED = 0.5
"""Share of words in common, in [0, 1], from which on a message says the request again."""


@method(
    "respect",
    target="memory",
    needs=[CritiqueView],
    alternatives=[SFTExample],
    requires=[
        reading(
            "follow-ups or choices after which an answer is worth remembering",
            lambda collection: _retrospection(collection)[0],
        )
    ],
    paper=PAPER,
    formula="signal(answer) = decode(what the user did next); memory = answers with signal > 0, "
    "corrections with signal < 0",
    example="--name looks-back",
)
async def respect(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    *,
    memory_name: str | None = None,
    embedder: EmbedderName = "hashed",
    recall_limit: RecallLimit = 8,
    withhold: Withhold = 0.05,
) -> Policy:
    """Look back at past answers by what users did next, and remember what worked.

    ReSpect, Chen et al. (2024), section 3, with a memory in place of weights. Thanks, a pick of the
    answer, and going on without an objection are positive; a correction, a complaint and saying the
    request again are negative. An answer that was right is a solved case for requests like it; an
    objection is a correction. Nobody has to annotate anything, and no model is called.

    Parameters
    ----------
    policy : Policy
        Policy to improve.
    feedback : TrainingSet
        Follow-ups and choices.
    run : Run
        Seed, budget and cache.
    memory_name : str, optional
        Name of the memory; that of the policy's memory by default, or ``memory``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of requests and entries.
    recall_limit : int, default 8
        Maximum number of entries in a prompt.
    withhold : float, default 0.05
        Probability with which an entry that applies is withheld in use.
    """
    options = RecallOptions(memory_name, embedder, recall_limit, withhold)
    lessons, signals = _retrospection(Collection.read(feedback))
    notes: dict[str, JsonValue] = {f"{name} signals": count for name, count in signals.items()}
    return write_lessons(
        policy,
        feedback,
        run,
        lessons,
        method="respect",
        options=options.with_own(),
        spec=options.spec,
        notes=notes,
    )


def _retrospection(collection: Collection) -> tuple[list[Lesson], Counter[str]]:
    """Return what follow-ups and choices teach, and the number of signals of each kind."""
    reader = StatementReader(collection.speakers, lambda reason: None)  # noqa: ARG005
    lessons: list[Lesson] = []
    signals: Counter[str] = Counter()
    for case in collection.cases:
        for item in case.feedback:
            if not isinstance(item, FollowUp | Choice):
                continue
            signal = decode_signal(item, case)
            signals[signal] += 1
            lessons += _remembered(reader, item, case, signal)
    return merge(lessons), signals


def decode_signal(item: FollowUp | Choice, case: Case) -> Signal:
    """Return what a user's next action says of the answer.

    Parameters
    ----------
    item : FollowUp or Choice
        Next action.
    case : Case
        Interaction before it.
    """
    if isinstance(item, Choice):
        return "positive" if item.chosen is not None else "negative"
    if item.act == "thanks" or (item.act is None and is_thanks(item.text)):
        return "positive"
    negative = {"correction", "complaint", "rephrasing", "clarification"}
    if item.act in negative or is_correction(item.text):
        return "negative"
    request = request_text(case.interaction.prompt)
    if edit_similarity(request.casefold(), item.text.casefold()) >= _REPHRASED:
        return "negative"
    return "neutral"


def _remembered(
    reader: StatementReader, item: FollowUp | Choice, case: Case, signal: Signal
) -> list[Lesson]:
    request, user = request_text(case.interaction.prompt), case.interaction.user
    if not request or signal == "neutral":
        return []
    if signal == "negative":
        if isinstance(item, Choice):
            return []
        text = on_request(request, item.text)
        return [reader.lesson_on("correction", request, text, item, user)]
    shown = item.chosen if isinstance(item, Choice) else item.response
    texts = [r.text for r in case.interaction.responses if shown in {None, r.id}]
    if len(texts) != 1 or not texts[0].strip():
        return []
    return [reader.lesson_on("case", request, texts[0], item, user)]
