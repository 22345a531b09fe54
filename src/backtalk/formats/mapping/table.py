"""A whole mapping: what each row of a table is."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from backtalk.errors import NotFound, RecordError
from backtalk.feedback.interaction import Message, Response
from backtalk.feedback.record import Name, OptionalField, Record, explain
from backtalk.formats.content_ids import case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, Format, Said
from backtalk.formats.mapping.cells import Column, cell, empty, timestamp, value, words
from backtalk.formats.mapping.kinds import CritiqueMapping, FeedbackMapping, FollowUpMapping

_PAGE = "docs/formats.md"


class ResponseMapping(Record):
    """Where one response stands."""

    text: Column
    model: OptionalField[Column] = None
    """The column that names the model which wrote it."""
    written_by: OptionalField[Name] = None
    """The model that wrote all responses of this column."""


def _response(given: Any) -> Any:
    return {"text": given} if isinstance(given, str) else given


class RowMapping(Record):
    """What the columns of a table mean."""

    model_config = ConfigDict(defer_build=True)

    prompt: OptionalField[Column] = None
    """A text, or chat messages. Without a prompt every row speaks of the system as a whole, and
    says only critiques and instructions."""
    system: OptionalField[Column] = None
    """A system prompt that stands before it."""
    responses: tuple[Annotated[ResponseMapping, BeforeValidator(_response)], ...] = ()
    """The columns of the responses. One whose cell is empty was not given in that row."""
    feedback: Annotated[tuple[FeedbackMapping, ...], Field(min_length=1)]
    id: OptionalField[Column] = None
    """What tells a row from others that say the same. Without it they count once."""
    user: OptionalField[Column] = None
    """Who asked."""
    session: OptionalField[Column] = None
    """The conversation that it belongs to."""
    time: OptionalField[Column] = None
    """When it was asked."""
    metadata: tuple[Column, ...] = ()
    """Columns that are kept as they are."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.prompt is None:
            self._speaks_of_the_whole()
        for number, item in enumerate(self.feedback):
            whole = isinstance(item, CritiqueMapping | FollowUpMapping) and not self.responses
            for name, place in item.places().items():
                if place >= len(self.responses) and not whole:
                    raise ValueError(
                        f"feedback.{number}.{name}: there is no response {place}, the mapping "
                        f"lists {len(self.responses)}, counted from 0"
                    )
        return self

    def _speaks_of_the_whole(self) -> None:
        of_prompt = ("system", "responses", "user", "session", "time")
        given = [name for name in of_prompt if getattr(self, name)]
        if given:
            raise ValueError(f"{given[0]}: there is no prompt that it could belong to")
        for number, item in enumerate(self.feedback):
            if item.OF_PROMPT:
                raise ValueError(f"prompt: missing, and feedback.{number} is a {item.kind}")

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a mapping from YAML or JSON.

        Raises
        ------
        RecordError
            If it is not valid; the message names the field and what it could be.
        """
        import yaml  # noqa: PLC0415 - loaded when there is a mapping

        try:
            return cls.model_validate(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise RecordError(f"the mapping is not YAML: {error}") from None
        except ValidationError as error:
            raise RecordError(f"the mapping is not valid: {explain(error)}", _mend(error)) from None

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
            raise NotFound(f"There is no file {path}", f"{_PAGE} shows how to write one")
        return cls.from_yaml(path.read_text(encoding="utf-8"))

    def parse(self, row: Data) -> list[Said]:
        """Return the interaction that a row tells of, with the feedback in it.

        Raises
        ------
        RecordError
            If a column is missing, or holds what the mapping does not know.
        """
        fields = Fields(row)
        distinct = words(fields, self.id)
        kept = {name: held for name in self.metadata if (held := value(fields, name)) is not None}
        if self.prompt is None:
            return [
                said.model_copy(update={"metadata": kept})
                for item in self.feedback
                for said in item.read(fields, None, distinct)
            ]
        prompt = cell(fields, self.prompt).messages("it")
        if told := words(fields, self.system):
            prompt = (Message.system(told), *prompt)
        interaction = make_interaction(
            prompt,
            self._responses(fields),
            distinct=() if distinct is None else (distinct,),
            time=timestamp(fields, self.time),
            user=words(fields, self.user),
            session=words(fields, self.session),
            metadata=kept,
        )
        said = [one for item in self.feedback for one in item.read(fields, interaction, None)]
        return [case(interaction, said)]

    def _responses(self, fields: Fields) -> list[Response]:
        return [
            Response(
                id=str(index),
                text=cell(fields, item.text).text("it"),
                model=words(fields, item.model) or item.written_by,
            )
            for index, item in enumerate(self.responses)
            if not empty(fields, item.text)
        ]


def mapping_format(mapping: RowMapping) -> Format:
    """Return a mapping as a format."""
    return Format(
        name="mapping",
        title="a table by a mapping",
        source=_PAGE,
        parse=mapping.parse,
        looks_like=lambda _row: False,
    )


def _mend(error: ValidationError) -> str:
    """Return what to write instead of a field that there is not."""
    for item in error.errors(include_url=False):
        if item["type"] == "extra_forbidden":
            known = _known(item["loc"])
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            return f"{hint}There are {', '.join(known)}"
    return f"{_PAGE} shows what a mapping says"


def _known(path: tuple[int | str, ...]) -> list[str]:
    """Return the fields that there are where an unknown one stands."""
    if path[0] == "responses":
        return list(ResponseMapping.model_fields)
    if path[0] == "feedback":
        by_kind = {
            get_args(each.model_fields["kind"].annotation)[0]: each
            for each in get_args(get_args(FeedbackMapping)[0])
        }
        return list(by_kind[path[2]].model_fields)
    return list(RowMapping.model_fields)
