"""Mapping of the rows of a table to interactions with feedback."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from backtalk.errors import NotFound, RecordError
from backtalk.feedback.interaction import Message, Response
from backtalk.feedback.record import Name, OptionalField, Record, explain
from backtalk.formats.content_ids import make_case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Format, Parsed, RowData
from backtalk.formats.mapping.cells import Column, cell, empty, text, timestamp, value
from backtalk.formats.mapping.kinds import CritiqueMapping, FeedbackMapping, FollowUpMapping

_DOCS_PAGE = "docs/formats.md"


class ResponseMapping(Record):
    """Columns of one response."""

    text: Column
    """Column of the text."""
    model: OptionalField[Column] = None
    """Column with the name of the model that generated it."""
    written_by: OptionalField[Name] = None
    """Name of the model that generated all responses of this column."""


def _response_from_column(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class RowMapping(Record):
    """Meaning of the columns of a table."""

    model_config = ConfigDict(defer_build=True)

    prompt: OptionalField[Column] = None
    """Column of the prompt, a text or chat messages. Without a prompt, rows are about the system as
    a whole and have only critiques and instructions."""
    system: OptionalField[Column] = None
    """Column of a system prompt that precedes the prompt."""
    responses: tuple[Annotated[ResponseMapping, BeforeValidator(_response_from_column)], ...] = ()
    """Columns of the responses. A row with an empty cell does not have that response."""
    feedback: Annotated[tuple[FeedbackMapping, ...], Field(min_length=1)]
    id: OptionalField[Column] = None
    """Column of an id that distinguishes rows with the same content. Without it they count once."""
    user: OptionalField[Column] = None
    """Column of the user's id."""
    session: OptionalField[Column] = None
    """Column of the conversation's id."""
    time: OptionalField[Column] = None
    """Column of the time of the interaction."""
    metadata: tuple[Column, ...] = ()
    """Columns that are kept as metadata."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.prompt is None:
            self._check_without_prompt()
        for number, item in enumerate(self.feedback):
            needs_no_response = (
                isinstance(item, CritiqueMapping | FollowUpMapping) and not self.responses
            )
            for name, index in item.response_indices().items():
                if index >= len(self.responses) and not needs_no_response:
                    raise ValueError(
                        f"feedback.{number}.{name}: there is no response {index}, the mapping "
                        f"lists {len(self.responses)}, counted from 0"
                    )
        return self

    def _check_without_prompt(self) -> None:
        prompt_fields = ("system", "responses", "user", "session", "time")
        present = [name for name in prompt_fields if getattr(self, name)]
        if present:
            raise ValueError(f"{present[0]}: not allowed without a prompt")
        for number, item in enumerate(self.feedback):
            if item.NEEDS_PROMPT:
                raise ValueError(f"prompt: missing, and feedback.{number} is a {item.kind}")

    @classmethod
    def from_yaml(cls, source: str) -> Self:
        """Parse a mapping from YAML or JSON.

        Raises
        ------
        RecordError
            If it is not valid; the message names the field and the known ones.
        """
        import yaml  # noqa: PLC0415 - only needed for mappings

        try:
            return cls.model_validate(yaml.safe_load(source))
        except yaml.YAMLError as error:
            raise RecordError(f"the mapping is not YAML: {error}") from None
        except ValidationError as error:
            raise RecordError(
                f"the mapping is not valid: {explain(error)}", _remedy(error)
            ) from None

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a mapping from a file.

        Raises
        ------
        NotFound
            If there is no such file.
        RecordError
            If it is not valid.
        """
        path = Path(path)
        if not path.is_file():
            raise NotFound(f"There is no file {path}", f"Write one as {_DOCS_PAGE} shows")
        return cls.from_yaml(path.read_text(encoding="utf-8"))

    def parse(self, row: RowData) -> list[Parsed]:
        """Return the interaction that a row describes, with its feedback.

        Raises
        ------
        RecordError
            If a column is missing, or has a value that the mapping does not define.
        """
        fields = Fields(row)
        distinct = text(fields, self.id)
        metadata = {
            name: item for name in self.metadata if (item := value(fields, name)) is not None
        }
        if self.prompt is None:
            return [
                feedback.model_copy(update={"metadata": metadata})
                for item in self.feedback
                for feedback in item.read(fields, None, distinct)
            ]
        prompt = cell(fields, self.prompt).messages("it")
        if system := text(fields, self.system):
            prompt = (Message.system(system), *prompt)
        interaction = make_interaction(
            prompt,
            self._responses(fields),
            distinct=() if distinct is None else (distinct,),
            time=timestamp(fields, self.time),
            user=text(fields, self.user),
            session=text(fields, self.session),
            metadata=metadata,
        )
        feedback = [
            feedback for item in self.feedback for feedback in item.read(fields, interaction, None)
        ]
        return [make_case(interaction, feedback)]

    def _responses(self, fields: Fields) -> list[Response]:
        return [
            Response(
                id=str(index),
                text=cell(fields, item.text).text("it"),
                model=text(fields, item.model) or item.written_by,
            )
            for index, item in enumerate(self.responses)
            if not empty(fields, item.text)
        ]


def mapping_format(mapping: RowMapping) -> Format:
    """Return the format that a mapping describes."""
    return Format(
        name="mapping",
        title="table with a mapping",
        source=_DOCS_PAGE,
        parse=mapping.parse,
        matches=lambda _row: False,
    )


def _remedy(error: ValidationError) -> str:
    """Return the remedy for an unknown field: the closest known one, and all."""
    for item in error.errors(include_url=False):
        if item["type"] == "extra_forbidden":
            known = _known_fields(item["loc"])
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            return f"{hint}Known: {', '.join(known)}"
    return f"Write it as {_DOCS_PAGE} shows"


def _known_fields(path: tuple[int | str, ...]) -> list[str]:
    """Return the known fields of the object in which an unknown one was found."""
    if path[0] == "responses":
        return list(ResponseMapping.model_fields)
    if path[0] == "feedback":
        by_kind = {
            get_args(item.model_fields["kind"].annotation)[0]: item
            for item in get_args(get_args(FeedbackMapping)[0])
        }
        return list(by_kind[path[2]].model_fields)
    return list(RowMapping.model_fields)
