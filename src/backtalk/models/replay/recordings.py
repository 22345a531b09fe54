"""Outputs that were recorded: whose, to which prompt, as a table that travels as a file."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field, ValidationError

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Interaction, Message, Prompt, as_prompt
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.record import Name, Record, content_id, record_error
from backtalk.models.protocol import Completion, FinishReason, Request, Usage

if TYPE_CHECKING:
    import pyarrow as pa

Count = Annotated[int, Field(ge=0)]

PARQUET = "replay.parquet"
JSON_LINES = "replay.jsonl"


class _Line(Record):
    """One output in a file of JSON lines."""

    prompt: Prompt | str
    text: str
    model: Name | None = None
    log_probability: Annotated[float, Field(le=0)] | None = None
    finish_reason: FinishReason = "stop"
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    message: Message | None = None

    def row(self) -> _Row:
        fields = self.model_dump(exclude={"prompt", "message"})
        key = prompt_key(as_prompt(self.prompt))
        message = None if self.message is None else self.message.to_json()
        return _Row(**fields, prompt=key, message=message)


class _Row(NamedTuple):
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
    """Recorded outputs, in the order in which they are handed out.

    Parameters
    ----------
    table : pa.Table
        An Arrow table. Its columns: ``prompt``, the prompt's key; ``request``, the key of the one
        request that the output answers, or null where it answers any with this prompt; ``model``;
        ``text``; ``log_probability`` in nats; ``finish_reason``; ``prompt_tokens``;
        ``completion_tokens``, 0 where unknown; ``message``, JSON, where it is more than text.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()

    @classmethod
    def of(cls, interactions: Iterable[Interaction]) -> Recordings:
        """Return the responses of interactions.

        A response that several interactions show, the same text by the same model to the same
        prompt, counts once; one that stands twice in one interaction was drawn twice.
        """
        rows: list[_Row] = []
        seen: set[tuple[str, str | None, str, int]] = set()
        for interaction in interactions:
            key = prompt_key(interaction.prompt)
            here: Counter[tuple[str | None, str]] = Counter()
            for response in interaction.responses:
                written = (response.model, response.text)
                here[written] += 1
                if (mark := (key, *written, here[written])) in seen:
                    continue
                seen.add(mark)
                whole = response.messages[0].to_json() if len(response.messages) == 1 else None
                rows.append(
                    _Row(
                        prompt=key,
                        model=response.model,
                        text=response.text,
                        log_probability=response.log_probability,
                        message=whole,
                    )
                )
        return cls(_table(rows))

    @classmethod
    def of_requests(
        cls, recorded: Sequence[tuple[Request, Completion]], *, exact: bool
    ) -> Recordings:
        """Return completions for their requests; of several for equal requests, the first.

        Parameters
        ----------
        recorded : Sequence[tuple[Request, Completion]]
            Requests and their completions.
        exact : bool
            Whether a completion answers only the request that it was for, or else any with the
            same prompt; those are then ordered by the index of the sample.
        """
        first: dict[str, tuple[Request, Completion]] = {}
        for request, completion in recorded:
            first.setdefault(request.key, (request, completion))
        rows = [
            _Row(
                prompt=prompt_key(request.messages),
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
        """Read what ``to_files`` wrote, or JSON lines.

        Parameters
        ----------
        files : Mapping[str, bytes]
            ``replay.parquet``; or ``replay.jsonl``, with an object a line: ``prompt``, a text or
            chat messages, ``text``, and, where known, ``model``, ``log_probability``,
            ``finish_reason``, ``prompt_tokens``, ``completion_tokens``, ``message``.

        Raises
        ------
        RecordError
            If there is neither, or it is not valid.
        """
        if PARQUET in files:
            return cls(_read_parquet(files[PARQUET]))
        if JSON_LINES in files:
            lines = files[JSON_LINES].splitlines()
            return cls(_table([_read_line(n, line) for n, line in enumerate(lines, 1) if line]))
        result = ", ".join(files) or "nothing"
        raise RecordError(
            f"A recording needs a file {PARQUET} or {JSON_LINES}, but there is {result}"
        )

    def to_files(self) -> dict[str, bytes]:
        """Return the recordings as one Parquet file."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - loads Arrow

        buffer = io.BytesIO()
        pq.write_table(self.table, buffer, compression="zstd")
        return {PARQUET: buffer.getvalue()}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that wrote them, in order of first appearance."""
        return tuple(name for name in self.table["model"].unique().to_pylist() if name is not None)

    def only(self, models: Sequence[str]) -> Recordings:
        """Return the outputs of some models."""
        import pyarrow as pa  # noqa: PLC0415 - loads Arrow
        import pyarrow.compute as pc  # noqa: PLC0415 - loads Arrow

        wanted = pa.array(list(models), pa.string())
        return Recordings(self.table.filter(pc.is_in(self.table["model"], value_set=wanted)))

    @cached_property
    def id(self) -> str:
        """Determined by all that is recorded, and its order."""
        return content_id(
            *(json.dumps(self.table[name].to_pylist()) for name in self.table.column_names)
        )

    def completion(self, row: int) -> Completion:
        """Return the completion in a row."""
        results = {
            name: column[row].as_py()
            for name, column in zip(self.table.column_names, self.table.columns, strict=True)
        }
        message = results["message"]
        return Completion(
            text=results["text"],
            finish_reason=results["finish_reason"],
            usage=Usage(1, results["prompt_tokens"], results["completion_tokens"]),
            model=results["model"],
            log_probability=results["log_probability"],
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


def _table(rows: list[_Row]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - loads Arrow

    return pa.Table.from_pylist([row._asdict() for row in rows], schema=_schema())


def _read_line(number: int, line: bytes) -> _Row:
    try:
        return _Line.model_validate_json(line).row()
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
