"""Stanford Human Preferences: two comments on a post, compared by their votes."""

from __future__ import annotations

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import Verdict
from backtalk.formats.content_ids import HUMAN, make_case, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference, read_choice

_REQUIRED = frozenset({"history", "human_ref_A", "human_ref_B", "labels"})
_COMMENT_COLUMNS = ("score", "c_root_id", "created_at_utc")
_COLUMNS = _REQUIRED.union(
    {"score_ratio"}, (f"{name}_{letter}" for name in _COMMENT_COLUMNS for letter in "AB")
)
_ATTRIBUTES = frozenset({"upvote_ratio"})
"""Facts about the post, which are metadata."""


@import_format(
    "shp",
    title="Stanford Human Preferences (SHP, SHP-2): history, human_ref_A, human_ref_B, labels",
    source="https://huggingface.co/datasets/stanfordnlp/SHP",
    matches=lambda row: set(row) >= _REQUIRED,
    columns=_COLUMNS | _ATTRIBUTES,
)
def shp(row: RowData) -> list[Case]:
    """Parse a preference between two comments; the label is 1 if comment A is better, 0 if B is.

    The strength is the part of the better comment's score by which it exceeds the other one:
    1 - 1 / ``score_ratio``. A ratio of 2 is a strength of 0.5, and of 10 one of 0.9. The scores,
    numbers of votes, are metadata of the responses.
    """
    fields = Fields(row)
    verdict = read_choice(fields, "labels", first=1)
    _check_scores(fields, verdict)
    interaction = make_interaction(
        fields.text("history"),
        [_comment(fields, "0", "A"), _comment(fields, "1", "B")],
        metadata=fields.other_fields(_COLUMNS),
    )
    preference = make_preference(interaction, HUMAN, verdict, strength=_strength(fields))
    return [make_case(interaction, [preference])]


def _comment(fields: Fields, id_: str, letter: str) -> Response:
    metadata = {
        name: fields.data[f"{name}_{letter}"]
        for name in _COMMENT_COLUMNS
        if f"{name}_{letter}" in fields
    }
    return Response(id=id_, text=fields.text(f"human_ref_{letter}"), metadata=metadata)


def _check_scores(fields: Fields, verdict: Verdict) -> None:
    scores = [fields.optional_number(f"score_{letter}") for letter in "AB"]
    better, worse = scores if verdict == "a" else reversed(scores)
    if better is not None and worse is not None and better < worse:
        raise fields.error(
            "labels", f"the label prefers the comment with {better:g} votes to that with {worse:g}"
        )


def _strength(fields: Fields) -> float | None:
    ratio = fields.optional_number("score_ratio")
    if ratio is None:
        return None
    if ratio < 1:
        raise fields.error("score_ratio", f"expected a number of at least 1, got {ratio:g}")
    return 1 - 1 / ratio or None
