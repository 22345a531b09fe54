"""inspect_ai: logs of evaluations, whose scores are outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt, Response
from backtalk.feedback.kinds import Outcome, Scale
from backtalk.formats.content_ids import (
    make_case,
    make_feedback,
    make_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.inspect_messages import (
    parse_messages,
    reasoning_of,
    resolve_attachments,
)
from backtalk.formats.importers.inspect_scores import RESPONSE, ScoreOptions, read_scores
from backtalk.formats.options import parse_list, parse_scales
from backtalk.formats.readers import RejectedRow, Row

_ASKING_ROLES = {"system", "developer", "user"}


def _matches(row: RowData) -> bool:
    run = row.get("eval")
    return (
        isinstance(run, dict)
        and {"task", "model"} <= set(run)
        and "samples" in row
        and bool({"status", "version"} & set(row))
    )


def one_sample_per_row(rows: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
    """Yield a row for each sample of a log, so that an invalid sample rejects only itself.

    The rows of a log with several samples are numbered by sample, from 1.
    """
    for row in rows:
        samples = row.data.get("samples") if isinstance(row, Row) else None
        if isinstance(row, RejectedRow) or not isinstance(samples, list) or len(samples) < 2:
            yield row
            continue
        for number, sample in enumerate(samples, 1):
            yield Row(row.source, number, {**row.data, "samples": [sample]})


@import_format(
    "inspect-ai",
    title="inspect_ai logs, .eval and .json",
    source="https://inspect.aisi.org.uk/eval-logs.html",
    matches=_matches,
    options={
        "scorers": parse_list,
        "passed": parse_list,
        "failed": parse_list,
        "scale": parse_scales,
    },
    preprocess=one_sample_per_row,
)
def inspect_ai(
    row: RowData,
    *,
    scorers: tuple[str, ...] = (),
    passed: tuple[str, ...] = (),
    failed: tuple[str, ...] = (),
    scale: dict[str, Scale] | None = None,
) -> list[Case]:
    """Parse the samples of a log: one interaction for each sample and epoch, one outcome a score.

    The annotator of an outcome is the scorer, a program, or the model that graded, or the person
    who edited the score. ``C``, ``I``, ``P`` and ``N`` are correct, incorrect, half correct and no
    answer, which counts as incorrect. A score of several values gives one outcome each. Scores
    without a value, and those of invalidated samples, are left out and named in the metadata.

    Parameters
    ----------
    row : dict
        Log as JSON.
    scorers : tuple of str, default ()
        Names of the scorers to read. Default: all.
    passed : tuple of str, default ()
        Further values that mean passed.
    failed : tuple of str, default ()
        Further values that mean failed.
    scale : dict of str to Scale, optional
        Scales of numeric scores by scorer; the scale of ``""`` is for all others. Default: 0 to 1.
    """
    fields = Fields(row)
    run = fields.object("eval")
    options = ScoreOptions(scorers, passed, failed, scale or {})
    return [_case(run, sample, options) for sample in fields.objects("samples")]


def _case(run: Fields, sample: Fields, options: ScoreOptions) -> Case:
    sample = resolve_attachments(sample)
    prompt, answer = _conversation(sample)
    scores = read_scores(run, sample, options)
    responses = _responses(run, sample, answer, is_scored=bool(scores.outcomes))
    interaction = make_interaction(
        prompt,
        responses,
        distinct=_distinct(run, sample),
        time=sample.timestamp("started_at"),
        metadata=_metadata(run, sample) | scores.metadata,
    )
    outcomes = [
        make_feedback(
            Outcome,
            interaction,
            outcome.annotator,
            time=outcome.time,
            distinct=outcome.scorer,
            metadata=outcome.metadata,
            response=RESPONSE,
            passed=outcome.passed,
            score=outcome.score,
            text=outcome.text,
        )
        for outcome in scores.outcomes
    ]
    return make_case(interaction, outcomes)


def _distinct(run: Fields, sample: Fields) -> list[str]:
    """Return what tells a run of a sample from others with the same prompt and answer."""
    uuid = sample.optional_text("uuid")
    if uuid is not None:
        return [uuid]
    parts = (run.data.get("run_id"), run.data.get("task"), sample.data.get("id"))
    return [*map(str, parts), str(sample.integer("epoch"))]


def _conversation(sample: Fields) -> tuple[Prompt, Prompt]:
    """Return the messages up to the last turn of the user, and the model's turns after it."""
    if not sample.data.get("messages"):
        return parse_messages(sample, "input"), ()
    raw = sample.array("messages")
    messages = parse_messages(sample, "messages")
    generated = [
        i
        for i, (message, item) in enumerate(zip(messages, raw, strict=True))
        if message.role == "assistant" and item.get("source") != "input"
    ]
    if not generated:
        return messages, ()
    end = generated[-1] + 1
    while end < len(messages) and messages[end].role == "tool":
        end += 1
    user_turns = [i for i, message in enumerate(messages[:end]) if message.role in _ASKING_ROLES]
    if not user_turns:
        prompt = parse_messages(sample, "input")
        return prompt, messages[:end]
    return messages[: user_turns[-1] + 1], messages[user_turns[-1] + 1 : end]


def _responses(run: Fields, sample: Fields, answer: Prompt, *, is_scored: bool) -> list[Response]:
    output = sample.object("output") if "output" in sample else Fields({})
    completion = output.optional_text("completion")
    if not answer and completion is None and not is_scored:
        return []
    model = run.text("model")
    metadata: dict[str, Any] = {}
    if output.optional_text("model") not in (None, model):
        metadata["model"] = output.text("model")
    if reasoning := reasoning_of(output):
        metadata["reasoning"] = reasoning
    details: dict[str, Any] = {"model": model, "sample": max(sample.integer("epoch") - 1, 0)}
    details["reasoning"] = reasoning or None
    if not answer:
        return [Response(id=RESPONSE, text=completion or "", metadata=metadata, **details)]
    if completion not in (None, answer[-1].text):
        metadata["completion"] = completion
    return [response_from_messages(RESPONSE, answer, metadata=metadata, **details)]


def _metadata(run: Fields, sample: Fields) -> dict[str, Any]:
    metadata: dict[str, Any] = {"task": run.text("task"), "sample": sample.data.get("id")}
    metadata |= sample.select("epoch", "target", "choices", "invalidation")
    if isinstance(sample.data.get("metadata"), dict) and sample.data["metadata"]:
        metadata["metadata"] = sample.data["metadata"]
    if "error" in sample:
        error = sample.data["error"]
        metadata["error"] = error.get("message") if isinstance(error, dict) else error
    return metadata
