"""RewardBench and RewardBench 2: better and worse responses, each with its model."""

from __future__ import annotations

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import Ranking
from backtalk.formats.cell_values import is_json_cell, read_cells
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference
from backtalk.formats.importers.trl import parse_pair
from backtalk.formats.prompts import PROMPT_COLUMNS

_PAIR = frozenset({"chosen", "chosen_model", "rejected", "rejected_model"})
_PAIR_COLUMNS = _PAIR.union(PROMPT_COLUMNS)
_LISTS = frozenset({"prompt", "chosen", "rejected", "num_correct"})
_LIST_COLUMNS = _LISTS | {"num_incorrect", "total_completions", "models"}
_NO_MODEL = frozenset({"human", "unknown"})
"""Names of models that stand for a person or an unknown model."""


def _has_lists(row: RowData) -> bool:
    return set(row) >= _LISTS and all(
        isinstance(row[name], list) or is_json_cell(row[name]) for name in ("chosen", "rejected")
    )


@import_format(
    "reward-bench",
    title="RewardBench: chosen, chosen_model, rejected, rejected_model",
    source="https://huggingface.co/datasets/allenai/reward-bench",
    matches=lambda row: set(row) >= _PAIR | {"subset"},
    columns=_PAIR_COLUMNS,
)
def reward_bench(row: RowData) -> list[Case]:
    """Parse a preference; the subset and the id are metadata.

    The models "human" and "unknown" are metadata of the response, as they are no models.
    """
    fields = Fields(row)
    prompt, chosen, rejected = parse_pair(fields)
    interaction = make_interaction(
        prompt,
        [
            _with_model(chosen, fields.optional_text("chosen_model")),
            _with_model(rejected, fields.optional_text("rejected_model")),
        ],
        metadata=fields.other_fields(_PAIR_COLUMNS),
    )
    return [make_case(interaction, [make_preference(interaction, HUMAN, "a")])]


def _with_model(response: Response, model: str | None) -> Response:
    if model is None:
        return response
    if model.strip().lower() in _NO_MODEL:
        return response.model_copy(update={"metadata": {"model": model}})
    return response.model_copy(update={"model": model})


@import_format(
    "reward-bench-2",
    title="RewardBench 2: lists of chosen and rejected, num_correct",
    source="https://huggingface.co/datasets/allenai/reward-bench-2",
    matches=_has_lists,
    columns=_LIST_COLUMNS,
)
def reward_bench_2(row: RowData) -> list[Case]:
    """Parse a ranking in which every chosen response is better than every rejected one.

    Responses in the same list are not compared with each other. The models are those of the chosen
    and then the rejected responses, if there is one for each; a single model is that of all.
    Otherwise they are metadata.
    """
    fields = Fields(read_cells(row, ("chosen", "rejected", "models", "additional_metadata")))
    chosen, rejected = fields.array_fields("chosen"), fields.array_fields("rejected")
    _check_count(fields, "chosen", chosen, "num_correct")
    _check_count(fields, "rejected", rejected, "num_incorrect")
    texts = [items.text(index) for items in (chosen, rejected) for index in items.data]
    models, metadata = _models(fields, len(texts))
    interaction = make_interaction(
        fields.messages("prompt"),
        [
            _with_model(Response(id=str(i), text=text), model)
            for i, (text, model) in enumerate(zip(texts, models, strict=True))
        ],
        metadata=fields.other_fields(_LIST_COLUMNS) | metadata,
    )
    ids = [response.id for response in interaction.responses]
    tiers = tuple(ids[: len(chosen.data)]), tuple(ids[len(chosen.data) :])
    ranking = make_feedback(Ranking, interaction, HUMAN, tiers=tiers, within="unordered")
    return [make_case(interaction, [ranking])]


def _check_count(fields: Fields, name: str, items: Fields, count: str) -> None:
    if not items.data:
        raise fields.error(name, "the list is empty")
    if count in fields and fields.integer(count) != len(items.data):
        raise fields.error(count, f"{fields.data[count]}, but {name} has {len(items.data)} items")


def _models(fields: Fields, count: int) -> tuple[list[str | None], dict[str, object]]:
    """Return the model of each response, and the metadata that has those of no response."""
    if "models" not in fields:
        return [None] * count, {}
    items = fields.array_fields("models")
    models = [items.optional_text(index) for index in items.data]
    if len(models) == count:
        return models, {}
    if len(models) == 1:
        return models * count, {}
    return [None] * count, {"models": fields.data["models"]}
