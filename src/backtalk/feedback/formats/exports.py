"""Writing feedback in the layouts of other tools, and in Backtalk's own.

Whatever kind a piece of feedback is of, it is written if it can be seen as what the layout holds.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback.conversions import views
from backtalk.feedback.interaction import Message, prompt_text
from backtalk.feedback.kinds import AnyFeedback
from backtalk.feedback.views import Case, Example, Labelled, Pair, Stepwise

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]

_BATCH = 5_000
"""How many rows are written to Parquet at a time."""


@dataclass(frozen=True)
class Export:
    """A layout that feedback is written in."""

    name: str
    title: str
    source: str
    """The address of the page that describes the layout."""
    rows: Callable[[Case], list[Row]]
    """The rows that a case makes; none where it holds nothing of the kind."""
    columns: dict[str, str]
    """The columns of a Parquet file, each with its type: text, flag, messages, texts, flags."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    rows: int
    cases: int
    """How many cases made at least one row."""
    left_out: int
    """How many cases hold nothing that the layout could hold."""


EXPORTS: dict[str, Export] = {}
"""Every layout by its name."""


def export_format(
    name: str, *, title: str, source: str, columns: dict[str, str]
) -> Callable[[Callable[[Case], list[Row]]], Callable[[Case], list[Row]]]:
    """Register a function as the one that makes rows of a layout. See :class:`Export`."""

    def register(rows: Callable[[Case], list[Row]]) -> Callable[[Case], list[Row]]:
        EXPORTS[name] = Export(name, title, source, rows, columns)
        return rows

    return register


TRL = "https://huggingface.co/docs/trl/dataset_formats"
OPENAI = "https://platform.openai.com/docs/guides/model-optimization"


def _messages(prompt: Iterable[Message]) -> list[Row]:
    return [_plain(message) for message in prompt]


def _plain(message: Message) -> Row:
    """Return a message with what there is of it beyond role and content."""
    return {key: value for key, value in message.to_dict().items() if value not in (None, [], ())}


def _answer(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


@export_format(
    "trl-preference",
    title="TRL preference, conversational: prompt, chosen, rejected",
    source=TRL,
    columns={"prompt": "messages", "chosen": "messages", "rejected": "messages"},
)
def trl_preference(case: Case) -> list[Row]:
    """A pair each; ties are no preference and are left out."""
    return [
        {
            "prompt": _messages(pair.prompt),
            "chosen": _answer(pair.chosen),
            "rejected": _answer(pair.rejected),
        }
        for pair in views(case, Pair)
        if not pair.tie
    ]


@export_format(
    "trl-unpaired",
    title="TRL unpaired preference, conversational: prompt, completion, label",
    source=TRL,
    columns={"prompt": "messages", "completion": "messages", "label": "flag"},
)
def trl_unpaired(case: Case) -> list[Row]:
    """A completion each that is good or bad."""
    return [
        {
            "prompt": _messages(item.prompt),
            "completion": _answer(item.completion),
            "label": item.good,
        }
        for item in views(case, Labelled)
    ]


@export_format(
    "trl-stepwise",
    title="TRL stepwise supervision: prompt, completions, labels",
    source=TRL,
    columns={"prompt": "text", "completions": "texts", "labels": "flags"},
)
def trl_stepwise(case: Case) -> list[Row]:
    """The checked steps of a response; a neutral one is no error and counts as right.

    Lightman et al. (2023), "Let's verify step by step", appendix C, count neutral as positive.
    """
    return [
        {
            "prompt": prompt_text(item.prompt),
            "completions": list(item.texts),
            "labels": [step.verdict != "wrong" for step in item.steps],
        }
        for item in views(case, Stepwise)
    ]


@export_format(
    "trl-prompt-completion",
    title="TRL prompt-completion, conversational: prompt, completion",
    source=TRL,
    columns={"prompt": "messages", "completion": "messages"},
)
def trl_prompt_completion(case: Case) -> list[Row]:
    """A completion each to imitate."""
    return [
        {"prompt": _messages(item.prompt), "completion": _answer(item.completion)}
        for item in views(case, Example)
    ]


@export_format(
    "openai-chat",
    title="OpenAI supervised fine-tuning: messages",
    source=OPENAI,
    columns={"messages": "messages"},
)
def openai_chat(case: Case) -> list[Row]:
    """A conversation each that ends with an answer to imitate."""
    return [
        {"messages": [*_messages(item.prompt), *_answer(item.completion)]}
        for item in views(case, Example)
    ]


@export_format(
    "openai-preference",
    title="OpenAI preference fine-tuning: input, preferred_output, non_preferred_output",
    source=OPENAI,
    columns={
        "input": "input",
        "preferred_output": "messages",
        "non_preferred_output": "messages",
    },
)
def openai_preference(case: Case) -> list[Row]:
    """A pair each; ties are left out."""
    return [
        {
            "input": {"messages": _messages(pair.prompt)},
            "preferred_output": _answer(pair.chosen),
            "non_preferred_output": _answer(pair.rejected),
        }
        for pair in views(case, Pair)
        if not pair.tie
    ]


@export_format(
    "backtalk",
    title="Backtalk's own layout, complete",
    source="docs/formats.md",
    columns={"record": "text", "body": "text"},
)
def backtalk(case: Case) -> list[Row]:
    """An interaction with all its feedback."""
    return [
        {
            "interaction": case.interaction.to_dict(),
            "feedback": [item.to_dict() for item in case.feedback],
        }
    ]


def export(
    cases: Iterable[Case],
    to: Path | str,
    format: str,  # noqa: A002 - as it is called everywhere
    *,
    loose: Iterable[AnyFeedback] = (),
) -> Exported:
    """Write feedback to a file, at flat memory.

    Parameters
    ----------
    cases
        What to write.
    to
        A file whose name ends in ``.jsonl``, ``.jsonl.gz``, ``.jsonl.zst`` or ``.parquet``, or
        ``"-"`` for JSON lines to standard output. It is replaced if it is there.
    format
        The name of a layout, as ``EXPORTS`` lists them.
    loose
        Feedback that is about no interaction; only Backtalk's own layout has a place for it.

    Raises
    ------
    UnknownName
        If there is no such layout.
    BacktalkError
        If the file's name has another ending.
    """
    if format not in EXPORTS:
        raise UnknownName.among("format to export to", format, list(EXPORTS))
    layout = EXPORTS[format]
    rows = written = left_out = 0
    with _writer(to, layout) as writer:
        for case in cases:
            found = layout.rows(case)
            rows += len(found)
            written += bool(found)
            left_out += not found
            for row in found:
                writer.write(row)
        if format == "backtalk":
            for item in loose:
                writer.write({"feedback": [item.to_dict()]})
                rows += 1
    return Exported(rows, written, left_out)


class _Writer(Protocol):
    def write(self, row: Row) -> None: ...


class _Lines:
    """Writes JSON lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n")


class _Parquet:
    """Writes Parquet, in batches."""

    def __init__(self, path: Path, layout: Export) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - slow to import, rarely needed

        self._schema = _schema(layout)
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows += _records(row) if "body" in self._schema.names else [row]
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 - slow to import, rarely needed

        plain = [{name: _narrowed(value) for name, value in row.items()} for row in self._rows]
        self._file.write_table(pa.Table.from_pylist(plain, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        self.flush()
        self._file.close()


def _narrowed(value: Any) -> Any:
    """Return a value with the contents of messages as text, which is what a column holds."""
    if isinstance(value, dict) and "role" in value:
        return {"role": value["role"], "content": Message.model_validate(value).text}
    if isinstance(value, dict):
        return {name: _narrowed(item) for name, item in value.items()}
    return [_narrowed(item) for item in value] if isinstance(value, list) else value


def _records(row: Row) -> Iterator[Row]:
    """Return a row of Backtalk's own layout as rows of one record each."""
    if "interaction" in row:
        yield {"record": "interaction", "body": _json(row["interaction"])}
    for item in row["feedback"]:
        yield {"record": "feedback", "body": _json(item)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _schema(layout: Export) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, rarely needed

    messages = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    types = {
        "text": pa.string(),
        "flag": pa.bool_(),
        "texts": pa.list_(pa.string()),
        "flags": pa.list_(pa.bool_()),
        "messages": messages,
        "input": pa.struct([("messages", messages)]),
    }
    return pa.schema([(name, types[kind]) for name, kind in layout.columns.items()])


@contextmanager
def _writer(to: Path | str, layout: Export) -> Iterator[_Writer]:
    """Open a file for writing; it takes its name only once it is whole."""
    if str(to) == "-":
        yield _Lines(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = Path(to)
    ending = "".join(path.suffixes[-2:] if path.suffix in {".gz", ".zst"} else path.suffixes[-1:])
    if ending not in {".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"}:
        raise BacktalkError(
            f"{path} has no ending that says how to write it",
            "Use .jsonl, .jsonl.gz, .jsonl.zst or .parquet",
        )
    if not path.parent.is_dir():
        raise BacktalkError(f"There is no folder {path.parent}", "Make it first")
    partial = path.with_name(f".{path.name}.partial")
    try:
        if ending == ".parquet":
            table = _Parquet(partial, layout)
            yield table
            table.close()
        else:
            with _opened(partial, ending) as file:
                yield _Lines(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, ending: str) -> Iterator[BinaryIO]:
    if ending.endswith(".gz"):
        with gzip.open(path, "wb", compresslevel=6) as packed:
            yield packed  # type: ignore[misc]
    elif ending.endswith(".zst"):
        import zstandard  # noqa: PLC0415 - rarely needed

        with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as stream:
            yield stream
    else:
        with path.open("wb") as file:
            yield file
