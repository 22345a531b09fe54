"""Mappings of critiques, edits, demonstrations, follow-ups and instructions."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from backtalk.errors import RecordError
from backtalk.feedback.annotator import AnnotatorKind
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import (
    AnyFeedback,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
)
from backtalk.feedback.record import OptionalField
from backtalk.formats.content_ids import response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.base import (
    Aspect,
    BaseMapping,
    ColumnMapping,
    OptionalResponseMapping,
    ResponseIndex,
    ResponseMapping,
    Target,
    read_aspect,
)
from backtalk.formats.mapping.cells import AnySource, cell, empty, value
from backtalk.formats.mapping.sources import Source, name_of


class CritiqueMapping(OptionalResponseMapping):
    """Mapping of critiques: free text about a response, an interaction or the whole system."""

    kind: Literal["critique"]
    aspect: OptionalField[Aspect] = None
    NEEDS_PROMPT: ClassVar = False

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Critique:
        return self._build(
            Critique,
            row,
            interaction,
            distinct,
            text=cell(row, self.column).text("it"),
            response=self._response_id(interaction),
            aspect=read_aspect(row, self.aspect),
        )


class EditMapping(ResponseMapping):
    """Mapping of edits: the edited response; an unchanged one is no edit."""

    kind: Literal["edit"]

    def read(self, row: Fields, interaction: Target, distinct: str | None) -> list[AnyFeedback]:
        """Return the edit, if the text was changed.

        Parameters
        ----------
        row : Fields
            Row of the table.
        interaction : Interaction or None
            Interaction that the row describes.
        distinct : str or None
            Further part of the id.
        """
        texts = (
            {response.id: response.text for response in interaction.responses}
            if interaction
            else {}
        )
        if value(row, self.column) == texts.get(str(self.response)):
            return []
        return super().read(row, interaction, distinct)

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Edit:
        return self._build(
            Edit,
            row,
            interaction,
            distinct,
            response=str(self.response),
            text=_plain_text(row, self.column),
        )


class DemonstrationMapping(BaseMapping):
    """Mapping of demonstrations: an ideal response, in a column or one of the responses."""

    kind: Literal["demonstration"]
    column: OptionalField[Source] = None
    """Column of the ideal response."""
    response: OptionalField[ResponseIndex] = None
    """Index of the response that is ideal in every row."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.column is None) == (self.response is None):
            raise ValueError("column: a demonstration needs either a column or a response")
        return self

    def response_indices(self) -> dict[str, int]:
        """Return the index of the response, if it is one."""
        return {} if self.response is None else {"response": self.response}

    def is_present(self, row: Fields) -> bool:
        """Return true if the row has a demonstration."""
        return self.column is None or not empty(row, self.column)

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Demonstration:
        text = (
            _response_text(interaction, str(self.response))
            if self.column is None
            else _plain_text(row, self.column)
        )
        return self._build(Demonstration, row, interaction, distinct, text=text)


class FollowUpMapping(OptionalResponseMapping):
    """Mapping of follow-ups: the next message of the user."""

    kind: Literal["follow_up"]
    annotator_kind: AnnotatorKind = "implicit"

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> FollowUp:
        return self._build(
            FollowUp,
            row,
            interaction,
            distinct,
            text=cell(row, self.column).text("it"),
            response=self._response_id(interaction),
        )


class InstructionMapping(ColumnMapping):
    """Mapping of standing instructions."""

    kind: Literal["instruction"]
    NEEDS_PROMPT: ClassVar = False

    def _parse(self, row: Fields, interaction: Target, distinct: str | None) -> Instruction:
        rule = cell(row, self.column).text("it")
        return self._build(Instruction, row, interaction, distinct, text=rule)


def _plain_text(row: Fields, column: AnySource) -> str:
    """Return the text of an answer, which may be a list of one message."""
    if not isinstance(value(row, column), list):
        return cell(row, column).text("it")
    response = response_from_messages("0", cell(row, column).messages("it"))
    return _only_text(response, name_of(column))


def _response_text(interaction: Target, response: str) -> str:
    responses = interaction.responses if interaction else ()
    item = next((item for item in responses if item.id == response), None)
    if item is None:
        raise RecordError(f"response {response}: the row has no such response to imitate")
    return _only_text(item, f"response {response}")


def _only_text(response: Response, path: str) -> str:
    if response.messages:
        raise RecordError(
            f"{path}: an answer of several messages or with tool calls is not a text",
            "Import the row in format openai-chat, or take the last message: column: "
            "messages[-1].content",
        )
    return response.text
