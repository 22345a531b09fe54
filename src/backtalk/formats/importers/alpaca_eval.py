"""AlpacaEval: a judge's preference between a model's answer and a baseline's."""

from __future__ import annotations

from pathlib import Path

from backtalk.errors import BacktalkError, RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.judgements import Preference
from backtalk.feedback.views import Case
from backtalk.formats.content_ids import case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format
from backtalk.formats.readers import Meter, RejectedRow, rows, sources

Baseline = dict[str, tuple[str, str | None]]
"""For each instruction the baseline's answer, and the model that wrote it where that is known."""


def read_baseline(path: str) -> Baseline:
    """Read a baseline's answers from rows with ``instruction`` and ``baseline_output``.

    AlpacaEval's own files of outputs, with ``output`` and ``generator``, will do too.

    Raises
    ------
    BacktalkError
        If a row has no such fields.
    """
    inputs = sources(Path(path))
    meter = Meter(None, inputs)
    result: Baseline = {}
    for row in (row for source in inputs for row in rows(source, meter)):
        if isinstance(row, RejectedRow):
            raise BacktalkError(f"{row.source}, row {row.line}: {row.reason}")
        fields = Fields(row.data)
        try:
            answer = fields.text("baseline_output" if "baseline_output" in fields else "output")
            result[_prompt(fields)] = answer, fields.words("generator")
        except RecordError as error:
            raise BacktalkError(f"{row.source}, row {row.line}: {error}") from None
    return result


def _looks_like(row: Data) -> bool:
    either = {"output_1", "output_2"}, {"output"}
    return {"instruction", "preference"} <= set(row) and any(each <= set(row) for each in either)


@import_format(
    "alpaca-eval",
    title="AlpacaEval outputs and annotations",
    source="https://github.com/tatsu-lab/alpaca_eval",
    looks_like=_looks_like,
    options={"baseline": read_baseline, "judge": str},
)
def alpaca_eval(
    row: Data, *, baseline: Baseline | None = None, judge: str = "alpaca-eval"
) -> list[Case]:
    """A preference with the judge's probability.

    Two layouts: a model's ``output`` with a ``preference`` in [0, 1], the probability that it
    beats the baseline's; or annotations, ``output_1`` and ``output_2`` with a ``preference`` from
    1, the first, to 2, the second. There 1.5 is a tie, as is 0 in older files.

    Parameters
    ----------
    row : Data
        The row.
    baseline : Baseline, optional
        The baseline's answers, from a file of them: needed for the first layout.
    judge : str, default "alpaca-eval"
        The judge's name where a row has none.
    """
    fields = Fields(row)
    if "output_1" in fields:
        return [_annotation(fields, judge)]
    prompt = _prompt(fields)
    if baseline is None or prompt not in baseline:
        raise RecordError(
            "output: the baseline's answer to this instruction is not known",
            "Give the file of the baseline's answers with the option baseline=FILE",
        )
    text, name = baseline[prompt]
    model = fields.words("model") or fields.words("generator")
    interaction = make_interaction(
        prompt,
        [
            Response(id="model", text=fields.text("output"), model=model),
            Response(id="baseline", text=text, model=name),
        ],
        metadata=fields.some("dataset", "datasplit"),
    )
    return [_judged(fields, interaction, _judge(fields, judge), fields.number("preference"))]


def _annotation(fields: Fields, judge: str) -> Case:
    interaction = make_interaction(
        _prompt(fields),
        [
            Response(
                id=f"output_{i}",
                text=fields.text(f"output_{i}"),
                model=fields.words(f"generator_{i}"),
            )
            for i in (1, 2)
        ],
        metadata=fields.some("dataset", "datasplit"),
    )
    number = fields.number("preference") or 1.5
    return _judged(fields, interaction, _judge(fields, judge), 2 - number)


def _judged(fields: Fields, interaction: Interaction, judge: Annotator, probability: float) -> Case:
    if not 0 <= probability <= 1:
        number = fields.data["preference"]
        raise fields.error("preference", f"{number} is on neither scale, 0 to 1 or 1 to 2")
    said = feedback(
        Preference,
        interaction,
        judge,
        a=interaction.responses[0].id,
        b=interaction.responses[1].id,
        verdict=Preference.verdict_of(probability),
        probability=probability,
        metadata=fields.some("raw_completion", "price_per_example", "time_per_example"),
    )
    return case(interaction, [said])


def _judge(fields: Fields, name: str) -> Annotator:
    if "annotator_index" in fields:
        return Annotator.human(str(fields.data["annotator_index"]))
    return Annotator.model(fields.words("annotator") or name)


def _prompt(fields: Fields) -> str:
    more = fields.words("input")
    instruction = fields.text("instruction")
    return instruction if more is None else f"{instruction}\n\n{more}"
