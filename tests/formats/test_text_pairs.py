"""Preferences between plain texts, whose ids and JSON are made without building records."""

import copy
import pickle
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from backtalk.feedback import Annotator, Preference, Response
from backtalk.feedback.case import Case
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.importers.trl import trl_preference
from backtalk.formats.text_pairs import TextPair, make_text_pair
from backtalk.store.bulk_writer import ChunkBuilder

TEXTS = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(
    ["", '"', "\\", "\x00\x1f\x7f", "\u2028", "🚀", "</script>", 'a","b', "\r\n"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
ANNOTATORS = st.just(HUMAN) | st.builds(
    Annotator,
    id=TEXTS.filter(bool),
    kind=st.sampled_from(["human", "model", "verifier"]),
    group=st.none() | st.just("novices"),
)


def build_case(prompt, chosen, rejected, metadata, annotator):
    """Build the case of a preference from its records."""
    responses = [Response(id="0", text=chosen), Response(id="1", text=rejected)]
    interaction = make_interaction(prompt, responses, metadata=metadata)
    preference = make_feedback(Preference, interaction, annotator, a="0", b="1", verdict="a")
    return make_case(interaction, [preference])


@given(TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3), ANNOTATORS)
@example("p", "a", "b", {"x": 1e300, "y": -0.0, "z": 2**70, "w": True, "v": None}, HUMAN)
def test_a_pair_has_the_rows_of_the_records(prompt, chosen, rejected, metadata, annotator):
    records = build_case(prompt, chosen, rejected, metadata, annotator)
    pair = make_text_pair(prompt, chosen, rejected, metadata=metadata, annotator=annotator)
    assert pair == records
    assert records == pair
    fast, slow = ChunkBuilder(3), ChunkBuilder(3)
    fast._received = slow._received
    slow.add(records)
    if isinstance(pair, TextPair):
        fast.add_pair(pair.content())
    else:
        fast.add(pair)
    assert fast.build() == slow.build()


def test_plain_rows_are_pairs_of_texts():
    row = {"prompt": "Open?", "chosen": "Yes.", "rejected": "No.", "split": "test", "score": 0.5}
    (pair,) = trl_preference(row)
    assert isinstance(pair, TextPair)
    assert pair.interaction.metadata == {"split": "test", "score": 0.5}


@pytest.mark.parametrize("position", range(3))
def test_texts_with_lone_surrogates_are_left_to_the_records(position):
    texts = ["Open?", "Yes.", "No."]
    texts[position] += "\ud800"
    assert type(make_text_pair(*texts)) is Case


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"x": float("nan")}])
def test_metadata_that_is_not_json_is_an_error(value):
    with pytest.raises(ValidationError):
        make_text_pair("Open?", "Yes.", "No.", metadata={"x": value})


def test_copies_of_a_pair_are_plain_cases():
    pair = make_text_pair("Open?", "Yes.", "No.")
    for other in (pickle.loads(pickle.dumps(pair)), copy.copy(pair), copy.deepcopy(pair)):
        assert type(other) is Case
        assert other == pair
    bare = replace(pair, feedback=())
    assert bare == Case(pair.interaction)
    assert pair != bare
    assert pair.text("1") == "No."
    assert [item.verdict for item in pair.of(Preference)] == ["a"]
