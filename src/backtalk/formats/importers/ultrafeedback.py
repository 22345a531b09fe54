"""UltraFeedback: responses rated by a judge on several aspects, with its reasons."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Critique, Preference, Rating, Scale
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.trl import parse_pair

_JUDGE = Annotator.model("gpt-4")
_OVERALL_SCALE = Scale(name="one-to-ten", low=1, high=10)
_BINARIZED_FIELDS = {"chosen", "rejected", "score_chosen", "score_rejected", "prompt_id"}


def _matches(row: RowData) -> bool:
    return {"instruction", "completions"} <= set(row) or set(row) >= _BINARIZED_FIELDS


@import_format(
    "ultrafeedback",
    title="UltraFeedback, as released and binarized",
    source="https://huggingface.co/datasets/openbmb/UltraFeedback",
    matches=_matches,
    columns=(
        "instruction",
        "completions",
        "correct_answers",
        "incorrect_answers",
        "prompt",
        "messages",
        *_BINARIZED_FIELDS,
    ),
)
def ultrafeedback(row: RowData) -> list[Case]:
    """Parse ratings of each response, overall and by aspect, and critiques.

    The binarized layout (``HuggingFaceH4/ultrafeedback_binarized``) becomes a preference whose
    strength is the difference of the two scores; equal scores are a tie.
    """
    fields = Fields(row)
    return [_preference_case(fields) if "chosen" in fields else _rating_case(fields)]


def _rating_case(fields: Fields) -> Case:
    completions = fields.objects("completions")
    metadata_fields = ("principle", "custom_system_prompt", "fine-grained_score")
    responses = [
        Response(
            id=str(i),
            text=completion.text("response"),
            model=completion.optional_text("model"),
            metadata=completion.select(*metadata_fields),
        )
        for i, completion in enumerate(completions)
    ]
    answers = {
        name: fields.data[name]
        for name in ("correct_answers", "incorrect_answers")
        if name in fields and fields.data[name] != ["None"]
    }
    interaction = make_interaction(
        fields.text("instruction"), responses, metadata={**fields.select("source"), **answers}
    )
    feedback: list[AnyFeedback] = []
    for response, completion in zip(responses, completions, strict=True):
        feedback += _response_feedback(interaction, response.id, completion)
    return make_case(interaction, feedback)


def _response_feedback(
    interaction: Interaction, response: str, completion: Fields
) -> list[AnyFeedback]:
    feedback: list[AnyFeedback] = []
    overall = completion.optional_number("overall_score")
    if overall is not None:
        feedback.append(
            make_feedback(
                Rating, interaction, _JUDGE, response=response, value=overall, scale=_OVERALL_SCALE
            )
        )
    if critique := completion.optional_text("critique"):
        feedback.append(
            make_feedback(Critique, interaction, _JUDGE, response=response, text=critique)
        )
    annotations = completion.object("annotations") if "annotations" in completion else Fields({})
    for aspect in annotations.data:
        for annotation in _annotations(annotations, aspect):
            feedback += _aspect_feedback(interaction, response, aspect, annotation)
    return feedback


def _annotations(annotations: Fields, aspect: str) -> list[Fields]:
    """Return the annotations of an aspect: one object, or a list of them in early files."""
    if aspect not in annotations:
        return []
    if isinstance(annotations.data[aspect], list):
        return annotations.objects(aspect)
    return [annotations.object(aspect)]


def _aspect_feedback(
    interaction: Interaction, response: str, aspect: str, annotation: Fields
) -> list[AnyFeedback]:
    common: dict[str, Any] = {"response": response, "aspect": aspect}
    feedback: list[AnyFeedback] = []
    value = annotation.optional_number("Rating")
    if value is not None:
        kinds = annotation.select("Type")
        feedback.append(
            make_feedback(
                Rating,
                interaction,
                _JUDGE,
                value=value,
                scale=Scale.STARS,
                metadata=kinds,
                **common,
            )
        )
    reasons = [annotation.optional_text(name) for name in ("Rationale", "Rationale For Rating")]
    return feedback + [
        make_feedback(Critique, interaction, _JUDGE, text=text, **common)
        for text in reasons
        if text
    ]


def _preference_case(fields: Fields) -> Case:
    prompt, chosen, rejected = parse_pair(fields)
    better, worse = fields.number("score_chosen"), fields.number("score_rejected")
    interaction = make_interaction(
        prompt,
        [
            chosen.model_copy(update={"metadata": {"score": better}}),
            rejected.model_copy(update={"metadata": {"score": worse}}),
        ],
        metadata=fields.select("prompt_id", "source"),
    )
    if worse > better:
        raise fields.error("score_rejected", f"{worse:g} is above score_chosen, {better:g}")
    strength = (better - worse) / (_OVERALL_SCALE.high - _OVERALL_SCALE.low)
    feedback = make_feedback(
        Preference,
        interaction,
        _JUDGE,
        a="0",
        b="1",
        verdict="a" if strength else "tie",
        strength=strength or None,
    )
    return make_case(interaction, [feedback])
