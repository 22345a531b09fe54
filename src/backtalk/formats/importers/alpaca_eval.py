"""AlpacaEval: a judge's preference between the outputs of a model and of a baseline."""

from __future__ import annotations

from pathlib import Path

from backtalk.errors import BacktalkError, RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import Preference
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.readers import Meter, RejectedRow, find_sources, read_rows
from backtalk.formats.readers.row import place

Baseline = dict[str, tuple[str, str | None]]
"""Output of the baseline and name of its model, if known, for each instruction."""


def read_baseline(path: str) -> Baseline:
    """Read a baseline's outputs from rows with ``instruction`` and ``baseline_output``.

    AlpacaEval's own files of outputs, with ``output`` and ``generator``, are accepted too.

    Raises
    ------
    BacktalkError
        If a row lacks these fields.
    """
    inputs = find_sources(Path(path))
    meter = Meter(None, inputs)
    baseline: Baseline = {}
    for row in (row for source in inputs for row in read_rows(source, meter)):
        if isinstance(row, RejectedRow):
            raise BacktalkError(f"{row.source}, {place(row.source, row.line)}: {row.reason}")
        fields = Fields(row.data)
        try:
            output = fields.text("baseline_output" if "baseline_output" in fields else "output")
            baseline[_prompt(fields)] = output, fields.optional_text("generator")
        except RecordError as error:
            raise BacktalkError(f"{row.source}, {place(row.source, row.line)}: {error}") from None
    return baseline


def _matches(row: RowData) -> bool:
    layouts = {"output_1", "output_2"}, {"output"}
    return {"instruction", "preference"} <= set(row) and any(
        fields <= set(row) for fields in layouts
    )


@import_format(
    "alpaca-eval",
    title="AlpacaEval outputs and annotations",
    source="https://github.com/tatsu-lab/alpaca_eval",
    matches=_matches,
    columns=(
        "instruction",
        "input",
        "output",
        "output_1",
        "output_2",
        "preference",
        "annotator",
        "annotator_index",
        "raw_completion",
    ),
    options={"baseline": read_baseline, "judge": str},
)
def alpaca_eval(
    row: RowData, *, baseline: Baseline | None = None, judge: str = "alpaca-eval"
) -> list[Case]:
    """Parse a preference with the judge's probability.

    There are two layouts. Outputs have a model's ``output`` and a ``preference`` in [0, 1], the
    probability that it beats the baseline's output. Annotations have ``output_1``, ``output_2`` and
    a ``preference`` from 1, for the first, to 2, for the second; 1.5 is a tie, as is 0 in older
    files.

    Parameters
    ----------
    row : Data
        Row of the file.
    baseline : Baseline, optional
        Outputs of the baseline, needed for the first layout; as an option, the file with them.
    judge : str, default "alpaca-eval"
        Name of the judge in rows that have none.
    """
    fields = Fields(row)
    if "output_1" in fields:
        return [_annotation_case(fields, judge)]
    prompt = _prompt(fields)
    if baseline is None or prompt not in baseline:
        raise RecordError(
            "output: the baseline's output for this instruction is not known",
            "Name the file of the baseline's outputs with the option baseline=FILE",
        )
    text, name = baseline[prompt]
    model = fields.optional_text("model") or fields.optional_text("generator")
    interaction = make_interaction(
        prompt,
        [
            Response(id="model", text=fields.text("output"), model=model),
            Response(id="baseline", text=text, model=name),
        ],
        metadata=fields.select("dataset", "datasplit"),
    )
    return [
        _preference_case(fields, interaction, _judge(fields, judge), fields.number("preference"))
    ]


def _annotation_case(fields: Fields, judge: str) -> Case:
    interaction = make_interaction(
        _prompt(fields),
        [
            Response(
                id=f"output_{i}",
                text=fields.text(f"output_{i}"),
                model=fields.optional_text(f"generator_{i}"),
            )
            for i in (1, 2)
        ],
        metadata=fields.select("dataset", "datasplit"),
    )
    number = fields.number("preference") or 1.5
    return _preference_case(fields, interaction, _judge(fields, judge), 2 - number)


def _preference_case(
    fields: Fields, interaction: Interaction, judge: Annotator, probability: float
) -> Case:
    if not 0 <= probability <= 1:
        number = fields.data["preference"]
        raise fields.error("preference", f"{number} is not on the scale, 0 to 1 or 1 to 2")
    preference = make_feedback(
        Preference,
        interaction,
        judge,
        a=interaction.responses[0].id,
        b=interaction.responses[1].id,
        verdict=Preference.verdict_for(probability),
        probability=probability,
        metadata=fields.select("raw_completion", "price_per_example", "time_per_example"),
    )
    return make_case(interaction, [preference])


def _judge(fields: Fields, name: str) -> Annotator:
    if "annotator_index" in fields:
        return Annotator.human(str(fields.data["annotator_index"]))
    return Annotator.model(fields.optional_text("annotator") or name)


def _prompt(fields: Fields) -> str:
    extra_input = fields.optional_text("input")
    instruction = fields.text("instruction")
    return instruction if extra_input is None else f"{instruction}\n\n{extra_input}"
