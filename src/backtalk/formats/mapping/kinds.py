"""Union of the mappings of all kinds of feedback."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from backtalk.formats.mapping.judgements import (
    ChoiceMapping,
    LabelMapping,
    OutcomeMapping,
    RankingMapping,
    RatingMapping,
)
from backtalk.formats.mapping.parts import SpansMapping, StepsMapping
from backtalk.formats.mapping.preferences import PreferenceMapping
from backtalk.formats.mapping.texts import (
    CritiqueMapping,
    DemonstrationMapping,
    EditMapping,
    FollowUpMapping,
    InstructionMapping,
)

FeedbackMapping = Annotated[
    RatingMapping
    | LabelMapping
    | PreferenceMapping
    | RankingMapping
    | CritiqueMapping
    | EditMapping
    | DemonstrationMapping
    | SpansMapping
    | StepsMapping
    | OutcomeMapping
    | FollowUpMapping
    | ChoiceMapping
    | InstructionMapping,
    Field(discriminator="kind"),
]
"""Mapping of one kind of feedback."""
