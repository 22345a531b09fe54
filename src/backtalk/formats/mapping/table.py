"""Mapping of the rows of a table to interactions with feedback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from backtalk.errors import NotFound, RecordError
from backtalk.feedback.interaction import Interaction, Prompt, Response
from backtalk.feedback.record import OptionalField, Record
from backtalk.formats.content_ids import make_case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Parsed, RowData
from backtalk.formats.mapping.base import Doubt
from backtalk.formats.mapping.cells import empty, read_list, text, timestamp, value
from backtalk.formats.mapping.conversations import (
    Conversations,
    Responses,
    read_conversations,
    read_prompt_source,
    with_system,
)
from backtalk.formats.mapping.fields import DOCS_PAGE, columns_read, mapping_error
from backtalk.formats.mapping.judgements import ChoiceMapping, RankingMapping
from backtalk.formats.mapping.kinds import FeedbackMapping
from backtalk.formats.mapping.sources import Source, name_of
from backtalk.formats.mapping.texts import CritiqueMapping, FollowUpMapping
from backtalk.formats.prompts import read_history
from backtalk.formats.unusual import note_unusual


def _metadata_by_name(value: Any) -> Any:
    is_names = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return {name: name for name in value} if is_names else value


class RowMapping(Record):
    """Meaning of the columns of a table."""

    model_config = ConfigDict(defer_build=True)

    prompt: OptionalField[Source] = None
    """Column of the prompt, a text or chat messages, a list of columns that are joined, or a
    template. Without a prompt, rows are about the system as a whole and have only critiques and
    instructions."""
    system: OptionalField[Source] = None
    """Column of a system prompt that precedes the prompt."""
    history: OptionalField[Source] = None
    """Column of earlier turns, a list of pairs of texts or of messages, that precede the prompt."""
    conversation: Conversations = ()
    """Columns of whole conversations, in place of the prompt and the responses. The answer of a
    single one is its last message. Several share a prompt, and the rest of each is an answer."""
    responses: Responses = ()
    """Columns of the responses. A row with an empty cell does not have that response."""
    feedback: tuple[FeedbackMapping, ...]
    """Feedback, at least one."""
    id: OptionalField[Source] = None
    """Column of an id that distinguishes rows with the same content. Without it they count once."""
    user: OptionalField[Source] = None
    """Column of the user's id."""
    session: OptionalField[Source] = None
    """Column of the conversation's id."""
    time: OptionalField[Source] = None
    """Column of the time of the interaction."""
    metadata: Annotated[dict[str, Source], BeforeValidator(_metadata_by_name)] = Field(
        default_factory=dict
    )
    """Columns that are kept as metadata, or their sources by name."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.feedback:
            raise ValueError("feedback: a mapping needs at least one")
        if self.conversation:
            self._check_with_conversation()
        elif self.prompt is None:
            self._check_without_prompt()
        count = len(self.conversation or self.responses)
        for number, item in enumerate(self.feedback):
            needs_no_response = isinstance(item, CritiqueMapping | FollowUpMapping) and count == 0
            for name, index in item.response_indices().items():
                if index >= count and not needs_no_response:
                    raise ValueError(
                        f"feedback.{number}.{name}: there is no response {index}, the mapping "
                        f"lists {count}, counted from 0"
                    )
        return self

    def _check_with_conversation(self) -> None:
        for name in ("prompt", "responses", "history"):
            if getattr(self, name):
                raise ValueError(f"{name}: not allowed with a conversation, which has it")

    def _check_without_prompt(self) -> None:
        prompt_fields = ("system", "history", "responses", "user", "session", "time")
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
            raise mapping_error(cls, error) from None

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
            raise NotFound(f"There is no file {path}", f"Write one as {DOCS_PAGE} shows")
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
        metadata = self._metadata(fields) if self.metadata else {}
        if self.prompt is None and not self.conversation:
            return [
                feedback.model_copy(update={"metadata": metadata})
                for item in self.feedback
                for feedback in item.read(fields, None, distinct)
            ]
        interaction = self._interaction(fields, distinct, metadata)
        if len(interaction.responses) < len(self.responses):
            self._check_responses(fields, {response.id for response in interaction.responses})
        feedback = [
            feedback for item in self.feedback for feedback in item.read(fields, interaction, None)
        ]
        if not feedback:
            note_unusual("row without feedback, as its cells are empty")
        return [make_case(interaction, feedback)]

    def _interaction(
        self, fields: Fields, distinct: str | None, metadata: dict[str, Any]
    ) -> Interaction:
        user, session = text(fields, self.user), text(fields, self.session)
        prompt, responses = self._prompt_and_responses(fields)
        return make_interaction(
            prompt,
            responses,
            distinct=_distinct(id=distinct, user=user, session=session),
            time=None if self.time is None else timestamp(fields, self.time),
            user=user,
            session=session,
            metadata=metadata,
        )

    def _check_responses(self, fields: Fields, present: set[str]) -> None:
        """Check that no feedback is about a response whose cell is empty."""
        for item in self.feedback:
            if isinstance(item, RankingMapping | ChoiceMapping) or not item.is_present(fields):
                continue
            for index in item.response_indices().values():
                if str(index) not in present:
                    column = name_of(self.responses[index].text)
                    raise RecordError(f"{column}: empty, but there is a {item.kind} of it")

    def _prompt_and_responses(self, fields: Fields) -> tuple[Prompt, list[Response]]:
        if self.conversation:
            prompt, responses = read_conversations(fields, self.conversation)
        else:
            prompt = read_prompt_source(fields, self.prompt or "")
            responses = [
                response
                for index, item in enumerate(self.responses)
                if (response := item.read(fields, str(index))) is not None
            ]
        if self.history is not None and not empty(fields, self.history):
            prompt = (
                *read_history(read_list(fields, self.history), name_of(self.history)),
                *prompt,
            )
        if self.system is not None:
            system = text(fields, self.system)
            prompt = with_system(system, prompt, name_of(self.system))
        return prompt, responses

    def _metadata(self, fields: Fields) -> dict[str, Any]:
        values = {name: value(fields, source) for name, source in self.metadata.items()}
        return {name: item for name, item in values.items() if item is not None}

    def resolve(self, rows: Sequence[RowData]) -> tuple[Self, list[Doubt]]:
        """Return the mapping that the first rows of a table imply, and doubts about its numbers.

        Numbers without a meaning in the mapping file have their default meaning only if the rows
        do not contradict it.
        """
        fields = [Fields(row) for row in rows]
        count = len(self.conversation or self.responses)
        resolved = [item.resolve(fields, count) for item in self.feedback]
        feedback = tuple(item for item, _ in resolved)
        doubts = [doubt for _, doubt in resolved if doubt is not None]
        return self.model_copy(update={"feedback": feedback}), doubts

    def columns(self) -> frozenset[str]:
        """Return the names of the columns that the mapping reads, and the columns of its paths.

        Columns that are only kept as metadata are left out.
        """
        other_metadata = {name: source for name, source in self.metadata.items() if name != source}
        return frozenset(columns_read(self.model_copy(update={"metadata": other_metadata})))


def _distinct(*, id: str | None, user: str | None, session: str | None) -> list[str]:  # noqa: A002
    """Return the parts of an interaction's id that tell equal rows apart."""
    parts = [] if id is None else [id]
    for name, part in (("user", user), ("session", session)):
        parts += [] if part is None else [name, part]
    return parts
