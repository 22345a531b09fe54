"""Recorded responses with their prompts and models, as a table that can be stored as a file."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field, ValidationError

from backtalk.errors import RecordError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Interaction, Message, Prompt, as_prompt
from backtalk.feedback.record import Name, Record, content_id, record_error
from backtalk.feedback.requests import stored_prompt_key
from backtalk.models.protocol import Completion, FinishReason, Request, Usage

if TYPE_CHECKING:
    import pyarrow as pa

Count = Annotated[int, Field(ge=0)]

PARQUET = "replay.parquet"
JSON_LINES = "replay.jsonl"


class _JsonRecording(Record):
    """Recorded response in a file of JSON lines."""

    prompt: Prompt | str
    text: str
    model: Name | None = None
    log_probability: Annotated[float, Field(le=0)] | None = None
    finish_reason: FinishReason = "stop"
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    message: Message | None = None

    def to_row(self) -> _RecordingRow:
        fields = self.model_dump(exclude={"prompt", "message"})
        key = prompt_key(as_prompt(self.prompt))
        message = None if self.message is None else self.message.to_json()
        return _RecordingRow(**fields, prompt=key, message=message)


class _RecordingRow(NamedTuple):
    prompt: str
    model: str | None
    text: str
    request: str | None = None
    log_probability: float | None = None
    finish_reason: FinishReason = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    message: str | None = None


class Recordings:
    """Recorded responses, in the order of replay.

    Parameters
    ----------
    table : pa.Table
        Arrow table with one row per response. Columns: ``prompt``, the key of the prompt;
        ``request``, the key of the only request that the response answers, or null if it answers
        any request with this prompt; ``model``; ``text``; ``log_probability``, in nats;
        ``finish_reason``; ``prompt_tokens`` and ``completion_tokens``, 0 if unknown; ``message``,
        the message as JSON if it is more than text.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()

    @classmethod
    def from_interactions(cls, interactions: Iterable[Interaction]) -> Recordings:
        """Return the responses of interactions.

        A response that occurs in several interactions (same prompt, model and text) counts once. A
        response that occurs twice in one interaction counts twice.
        """
        rows: list[_RecordingRow] = []
        seen: set[tuple[str, str | None, str, int]] = set()
        for interaction in interactions:
            key = prompt_key(interaction.prompt)
            counts: Counter[tuple[str | None, str]] = Counter()
            for response in interaction.responses:
                content = (response.model, response.text)
                counts[content] += 1
                if (occurrence := (key, *content, counts[content])) in seen:
                    continue
                seen.add(occurrence)
                message = response.messages[0].to_json() if len(response.messages) == 1 else None
                rows.append(
                    _RecordingRow(
                        prompt=key,
                        model=response.model,
                        text=response.text,
                        log_probability=response.log_probability,
                        message=message,
                    )
                )
        return cls(_table(rows))

    @classmethod
    def from_requests(
        cls, pairs: Sequence[tuple[Request, Completion]], *, exact: bool
    ) -> Recordings:
        """Return the completions of requests; the first one if requests are equal.

        Parameters
        ----------
        pairs : Sequence[tuple[Request, Completion]]
            Requests and their completions.
        exact : bool
            If true, a completion answers only its own request. Otherwise it answers any request
            with the same prompt, in the order of the sample indices.
        """
        first: dict[str, tuple[Request, Completion]] = {}
        for request, completion in pairs:
            first.setdefault(request.key, (request, completion))
        rows = [
            _RecordingRow(
                prompt=stored_prompt_key(request.messages),
                request=request.key if exact else None,
                model=completion.model,
                text=completion.text,
                log_probability=completion.log_probability,
                finish_reason=completion.finish_reason,
                prompt_tokens=completion.usage.prompt_tokens,
                completion_tokens=completion.usage.completion_tokens,
                message=None if completion.message is None else completion.message.to_json(),
            )
            for request, completion in sorted(first.values(), key=lambda pair: pair[0].sample_index)
        ]
        return cls(_table(rows))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Recordings:
        """Return recordings from the files that :meth:`to_files` wrote, or from JSON lines.

        Parameters
        ----------
        files : Mapping[str, bytes]
            Contents of ``replay.parquet``, or of ``replay.jsonl`` with one object per line:
            ``prompt``, a text or chat messages; ``text``; and optionally ``model``,
            ``log_probability``, ``finish_reason``, ``prompt_tokens``, ``completion_tokens``,
            ``message``.

        Raises
        ------
        RecordError
            If both files are missing, or the file is not valid.
        """
        if PARQUET in files:
            return cls(_read_parquet(files[PARQUET]))
        if JSON_LINES in files:
            lines = files[JSON_LINES].splitlines()
            return cls(_table([_read_line(n, line) for n, line in enumerate(lines, 1) if line]))
        names = ", ".join(files) or "none"
        raise RecordError(
            f"A recording needs a file {PARQUET} or {JSON_LINES}; the files are: {names}"
        )

    def to_files(self) -> dict[str, bytes]:
        """Return the recordings as a Parquet file."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - loads Arrow

        buffer = io.BytesIO()
        pq.write_table(self.table, buffer, compression="zstd")
        return {PARQUET: buffer.getvalue()}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in order of first appearance."""
        return tuple(name for name in self.table["model"].unique().to_pylist() if name is not None)

    def filter_models(self, models: Sequence[str]) -> Recordings:
        """Return the responses of these models only."""
        import pyarrow as pa  # noqa: PLC0415 - loads Arrow
        import pyarrow.compute as pc  # noqa: PLC0415 - loads Arrow

        names = pa.array(list(models), pa.string())
        return Recordings(self.table.filter(pc.is_in(self.table["model"], value_set=names)))

    @cached_property
    def id(self) -> str:
        """Content id of all columns, in order."""
        return content_id(
            *(json.dumps(self.table[name].to_pylist()) for name in self.table.column_names)
        )

    def completion(self, row: int) -> Completion:
        """Return the completion in a row of the table."""
        fields = {
            name: column[row].as_py()
            for name, column in zip(self.table.column_names, self.table.columns, strict=True)
        }
        message = fields["message"]
        return Completion(
            text=fields["text"],
            finish_reason=fields["finish_reason"],
            usage=Usage(1, fields["prompt_tokens"], fields["completion_tokens"]),
            model=fields["model"],
            log_probability=fields["log_probability"],
            message=None if message is None else Message.model_validate_json(message),
        )


def _schema() -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - loads Arrow

    return pa.schema(
        [
            pa.field("prompt", pa.string(), nullable=False),
            ("request", pa.string()),
            ("model", pa.string()),
            pa.field("text", pa.large_string(), nullable=False),
            ("log_probability", pa.float64()),
            pa.field("finish_reason", pa.string(), nullable=False),
            pa.field("prompt_tokens", pa.int64(), nullable=False),
            pa.field("completion_tokens", pa.int64(), nullable=False),
            ("message", pa.string()),
        ]
    )


def _table(rows: list[_RecordingRow]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - loads Arrow

    return pa.Table.from_pylist([row._asdict() for row in rows], schema=_schema())


def _read_line(number: int, line: bytes) -> _RecordingRow:
    try:
        return _JsonRecording.model_validate_json(line).to_row()
    except ValidationError as error:
        raise record_error(f"line {number} of {JSON_LINES}", error) from None


def _read_parquet(content: bytes) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - loads Arrow
    import pyarrow.parquet as pq  # noqa: PLC0415 - loads Arrow

    schema = _schema()
    try:
        return pq.read_table(io.BytesIO(content)).select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError) as error:
        raise RecordError(
            f"{PARQUET} is not a recording: {' '.join(str(error).split())}",
            f"It needs the columns {', '.join(schema.names)}",
        ) from None
