"""UltraFeedback: answers rated by a judge on several aspects, with its reasons."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.judgements import Preference, Rating, Scale
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.views import Case
from backtalk.feedback.words import Critique
from backtalk.formats.content_ids import case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format
from backtalk.formats.importers.trl import conversations

_JUDGE = Annotator.model("gpt-4")
_OVERALL_SCALE = Scale(name="one-to-ten", low=1, high=10)
_BINARIZED = {"chosen", "rejected", "score_chosen", "score_rejected", "prompt_id"}


def _looks_like(row: Data) -> bool:
    return {"instruction", "completions"} <= set(row) or set(row) >= _BINARIZED


@import_format(
    "ultrafeedback",
    title="UltraFeedback, as released and binarized",
    source="https://huggingface.co/datasets/openbmb/UltraFeedback",
    looks_like=_looks_like,
)
def ultrafeedback(row: Data) -> list[Case]:
    """Ratings of each answer, overall and by aspect, and critiques.

    The binarized layout (``HuggingFaceH4/ultrafeedback_binarized``) becomes a preference whose
    strength is the distance of the two scores; equal scores are a tie.
    """
    fields = Fields(row)
    return [_binarized(fields) if "chosen" in fields else _rated(fields)]


def _rated(fields: Fields) -> Case:
    completions = fields.parts("completions")
    kept = ("principle", "custom_system_prompt", "fine-grained_score")
    responses = [
        Response(
            id=str(i),
            text=completion.text("response"),
            model=completion.words("model"),
            metadata=completion.some(*kept),
        )
        for i, completion in enumerate(completions)
    ]
    answers = {
        name: fields.data[name]
        for name in ("correct_answers", "incorrect_answers")
        if name in fields and fields.data[name] != ["None"]
    }
    interaction = make_interaction(
        fields.text("instruction"), responses, metadata={**fields.some("source"), **answers}
    )
    said: list[AnyFeedback] = []
    for response, completion in zip(responses, completions, strict=True):
        said += _about(interaction, response.id, completion)
    return case(interaction, said)


def _about(interaction: Interaction, response: str, completion: Fields) -> list[AnyFeedback]:
    said: list[AnyFeedback] = []
    overall = completion.maybe_number("overall_score")
    if overall is not None:
        said.append(
            feedback(
                Rating, interaction, _JUDGE, response=response, value=overall, scale=_OVERALL_SCALE
            )
        )
    if critique := completion.words("critique"):
        said.append(feedback(Critique, interaction, _JUDGE, response=response, text=critique))
    annotations = completion.part("annotations") if "annotations" in completion else Fields({})
    for aspect in annotations.data:
        for annotation in _annotations(annotations, aspect):
            said += _about_aspect(interaction, response, aspect, annotation)
    return said


def _annotations(annotations: Fields, aspect: str) -> list[Fields]:
    """Return what was said about an aspect: one object, or in early files a list of them."""
    if aspect not in annotations:
        return []
    if isinstance(annotations.data[aspect], list):
        return annotations.parts(aspect)
    return [annotations.part(aspect)]


def _about_aspect(
    interaction: Interaction, response: str, aspect: str, annotation: Fields
) -> list[AnyFeedback]:
    common: dict[str, Any] = {"response": response, "aspect": aspect}
    said: list[AnyFeedback] = []
    value = annotation.maybe_number("Rating")
    if value is not None:
        kinds = annotation.some("Type")
        said.append(
            feedback(
                Rating,
                interaction,
                _JUDGE,
                value=value,
                scale=Scale.STARS,
                metadata=kinds,
                **common,
            )
        )
    reasons = [annotation.words(name) for name in ("Rationale", "Rationale For Rating")]
    return said + [
        feedback(Critique, interaction, _JUDGE, text=text, **common) for text in reasons if text
    ]


def _binarized(fields: Fields) -> Case:
    prompt, chosen, rejected = conversations(fields)
    better, worse = fields.number("score_chosen"), fields.number("score_rejected")
    interaction = make_interaction(
        prompt,
        [
            chosen.model_copy(update={"metadata": {"score": better}}),
            rejected.model_copy(update={"metadata": {"score": worse}}),
        ],
        metadata=fields.some("prompt_id", "source"),
    )
    if worse > better:
        raise fields.error("score_rejected", f"{worse:g} is above score_chosen, {better:g}")
    strength = (better - worse) / (_OVERALL_SCALE.high - _OVERALL_SCALE.low)
    said = feedback(
        Preference,
        interaction,
        _JUDGE,
        a="0",
        b="1",
        verdict="a" if strength else "tie",
        strength=strength or None,
    )
    return case(interaction, [said])
