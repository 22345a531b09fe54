"""Exports write the judgements of one aspect, and say what they leave out."""

import json

import pytest

from backtalk.errors import UnknownName
from backtalk.feedback import Annotator, Interaction, Label, Preference, Ranking, Rating
from backtalk.feedback.case import Case
from backtalk.formats import EXPORTS, RowMapping, export

ADA = Annotator.human("ada")
MAPPING = """
prompt: prompt
responses: [a, b]
feedback:
  - {kind: preference, column: better, a: ["a"], b: ["b"]}
  - {kind: preference, column: safer, a: ["a"], b: ["b"], aspect: safety}
"""
ROWS = [
    {"prompt": "How do I?", "a": "So.", "b": "Not.", "better": "a", "safer": "b"},
    {"prompt": "And then?", "a": "Thus.", "b": "No.", "better": "b", "safer": "b"},
]


@pytest.fixture
def cases():
    mapping = RowMapping.from_yaml(MAPPING)
    return [case for row in ROWS for case in mapping.parse(row)]


def written(cases, tmp_path, layout, **options):
    path = tmp_path / "out.jsonl"
    result = export(cases, path, layout, **options)
    return [json.loads(line) for line in path.read_text().splitlines()], result


def text(messages):
    (message,) = messages
    return message["content"]


@pytest.mark.parametrize(
    ("aspect", "chosen"), [({}, ["So.", "No."]), ({"aspect": "safety"}, ["Not.", "No."])]
)
def test_better_and_safer_are_not_mixed(cases, aspect, chosen, tmp_path):
    other = "overall" if aspect else "safety"
    rows, result = written(cases, tmp_path, "trl-preference", **aspect)
    assert [text(row["chosen"]) for row in rows] == chosen
    assert result.other_aspects == {other: 2}
    rows, _ = written(cases, tmp_path, "openai-preference", **aspect)
    assert [text(row["preferred_output"]) for row in rows] == chosen
    rows, result = written(cases, tmp_path, "trl-unpaired", **aspect)
    assert [text(row["completion"]) for row in rows if row["label"]] == chosen
    assert len(rows) == 4
    assert result.other_aspects == {other: 2}


def aspects_only():
    """Return a case whose judgements are about safety and tone only."""
    interaction = Interaction.of("Open?", "Yes.", "No.")
    about = {"interaction": interaction.id, "annotator": ADA, "aspect": "safety"}
    return Case(
        interaction,
        (
            Label(**about, response="0", good=True),
            Label(**about, response="1", good=False),
            Rating(**about, response="0", value=4),
            Ranking(**about, tiers=(("0",), ("1",))),
            Preference(**{**about, "aspect": "tone"}, a="0", b="1", verdict="b"),
        ),
    )


@pytest.mark.parametrize("layout", ["trl-preference", "trl-unpaired", "openai-preference"])
def test_feedback_on_other_aspects_only_makes_no_row_and_says_so(layout, tmp_path):
    rows, result = written([aspects_only()], tmp_path, layout)
    assert (rows, result.left_out) == ([], 1)
    assert result.reasons == {"only judgements on safety, tone": 1}
    assert set(result.other_aspects) == {"safety", "tone"}
    rows, result = written([aspects_only()], tmp_path, layout, aspect="tone")
    assert len(rows) == (2 if layout == "trl-unpaired" else 1)


@pytest.mark.parametrize("layout", ["trl-prompt-completion", "openai-chat"])
def test_an_answer_that_is_good_in_one_aspect_is_imitated_only_if_that_is_asked_for(
    layout, tmp_path
):
    rows, result = written([aspects_only()], tmp_path, layout)
    assert (rows, result.other_aspects) == ([], {"safety": 2})
    rows, _ = written([aspects_only()], tmp_path, layout, aspect="safety")
    assert len(rows) == 1


def test_an_aspect_that_nothing_is_about_is_refused_with_those_that_there_are(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("before")
    with pytest.raises(UnknownName, match=r"'safty'.*Did you mean 'safety'"):
        export([aspects_only()], path, "trl-unpaired", aspect="safty")
    assert path.read_text() == "before"


def test_the_own_layout_holds_all_aspects(tmp_path):
    (row,), result = written([aspects_only()], tmp_path, "backtalk")
    assert len(row["feedback"]) == 5
    assert not result.other_aspects


def test_no_layout_but_the_own_writes_judgements_on_other_aspects(tmp_path):
    for name in set(EXPORTS) - {"backtalk"}:
        assert written([aspects_only()], tmp_path, name)[0] == [], name
