"""Records: JSON round trips, the published schema, and validation errors that name the field."""

import json

import pytest
from hypothesis import given
from pydantic import ValidationError

from backtalk.errors import RecordError
from backtalk.feedback import (
    KINDS,
    Annotator,
    Choice,
    Critique,
    Edit,
    Interaction,
    Label,
    Message,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Response,
    Scale,
    Shown,
    Span,
    Spans,
    Step,
    Steps,
    json_schema,
    parse_feedback,
    parse_interaction,
    verdict_score,
)
from backtalk.feedback.record import content_id, explain, new_id
from tests.strategies import cases, interactions

ADA = Annotator.human("ada")
INTERACTION = Interaction.of("What is two and two?", "Four.", "It is five, I think.")
ABOUT = {"interaction": INTERACTION.id, "annotator": ADA}


@given(interactions())
def test_an_interaction_survives_json(interaction):
    assert parse_interaction(interaction.to_json()) == interaction
    assert parse_interaction(interaction.to_dict()) == interaction


@given(cases())
def test_feedback_of_every_kind_survives_json_and_fits_its_interaction(case):
    for item in case.feedback:
        assert parse_feedback(item.to_json()) == item
        assert parse_feedback(item.to_dict()) == item
        item.check(case.interaction)


def test_all_kinds_are_registered():
    assert set(KINDS) == {
        "rating", "label", "preference", "ranking", "critique", "edit", "demonstration",
        "spans", "steps", "outcome", "follow_up", "choice", "instruction",
    }  # fmt: skip


def test_an_unknown_time_stays_unknown_and_a_missing_one_is_now():
    unknown = Label(response="0", good=True, time=None, **ABOUT)
    assert parse_feedback(unknown.to_json()).time is None
    fields = {**unknown.to_dict(), "metadata": {}}
    del fields["time"]
    assert parse_feedback(fields).time is not None


def test_empty_fields_are_omitted_from_the_json():
    assert Interaction(id="i", prompt=(Message.user("x"),), time=None).to_dict() == {
        "id": "i",
        "prompt": [{"role": "user", "content": "x"}],
        "responses": [],
        "time": None,
    }


def test_records_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        INTERACTION.user = "bob"


def test_fresh_ids_sort_by_time_and_content_ids_tell_parts_apart():
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert content_id("ab", "c") != content_id("a", "bc")
    assert content_id("ab", "c") == content_id("ab", "c")
    assert [id_[:12] for id_ in ids] == sorted(id_[:12] for id_ in ids)


INVALID = {
    "rating off its scale": (lambda: Rating(response="0", value=6, **ABOUT), "value"),
    "rating that is not a number": (
        lambda: Rating(response="0", value=float("nan"), **ABOUT),
        "value",
    ),
    "scale with equal ends": (lambda: Scale(name="x", low=1, high=1), "low"),
    "preference with itself": (lambda: Preference(a="0", b="0", verdict="a", **ABOUT), "b"),
    "probability against the verdict": (
        lambda: Preference(a="0", b="1", verdict="a", probability=0.2, **ABOUT),
        "probability",
    ),
    "probability of both bad": (
        lambda: Preference(a="0", b="1", verdict="both_bad", probability=0.5, **ABOUT),
        "probability",
    ),
    "probability above one": (
        lambda: Preference(a="0", b="1", verdict="a", probability=1.01, **ABOUT),
        "probability",
    ),
    "strength of a tie": (
        lambda: Preference(a="0", b="1", verdict="tie", strength=0.5, **ABOUT),
        "strength",
    ),
    "ranking with an item twice": (lambda: Ranking(tiers=(("0",), ("1", "0")), **ABOUT), "tiers"),
    "ranking of one": (lambda: Ranking(tiers=(("0",),), **ABOUT), "tiers"),
    "ranking without an order": (
        lambda: Ranking(tiers=(("0", "1"),), within="unordered", **ABOUT),
        "tiers",
    ),
    "span that ends before it starts": (lambda: Span(start=3, end=3, label="x"), "end"),
    "span before the text": (lambda: Span(start=-1, end=3, label="x"), "start"),
    "steps that overlap": (
        lambda: Steps(
            response="0",
            steps=(Step(start=0, end=3, verdict="right"), Step(start=2, end=4, verdict="wrong")),
            **ABOUT,
        ),
        "steps",
    ),
    "outcome without a result": (lambda: Outcome(response="0", **ABOUT), "passed"),
    "choice of a response that was not shown": (
        lambda: Choice(chosen="1", shown=(Shown(response="0"),), **ABOUT),
        "chosen",
    ),
    "choice shown twice": (
        lambda: Choice(chosen="0", shown=(Shown(response="0"), Shown(response="0")), **ABOUT),
        "shown",
    ),
    "propensity of zero": (lambda: Shown(response="0", propensity=0), "propensity"),
    "propensity above one": (lambda: Response(id="0", text="x", propensity=1.5), "propensity"),
    "confidence that is not a number": (
        lambda: Label(response="0", good=True, confidence=float("nan"), **ABOUT),
        "confidence",
    ),
    "critique of a part without a response": (
        lambda: Critique(text="x", start=0, end=1, **ABOUT),
        "response",
    ),
    "critique with a start and no end": (
        lambda: Critique(text="x", response="0", start=0, **ABOUT),
        "end",
    ),
    "naive time": (
        lambda: Label(response="0", good=True, time="2026-01-01T00:00:00", **ABOUT),
        "time",
    ),
    "unknown field": (lambda: Label(response="0", good=True, godo=True, **ABOUT), "godo"),
    "no prompt": (lambda: Interaction(prompt=()), "prompt"),
    "response ids twice": (
        lambda: Interaction(
            prompt=(Message.user("x"),),
            responses=(Response(id="0", text="a"), Response(id="0", text="b")),
        ),
        "responses",
    ),
    "shown response that does not exist": (
        lambda: Interaction(prompt=(Message.user("x"),), shown=("0",)),
        "shown",
    ),
    "not a number in metadata": (
        lambda: Interaction(prompt=(Message.user("x"),), metadata={"x": float("inf")}),
        "metadata.x",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_records_are_rejected_with_the_field_named(case):
    make, field = INVALID[case]
    with pytest.raises(ValidationError) as caught:
        make()
    assert explain(caught.value).startswith(field)


MISFITS = {
    "a response of another interaction": (
        lambda: Preference(a="0", b="7", verdict="a", **ABOUT),
        r"^b: .*'7'.*Its responses are 0, 1",
    ),
    "another interaction": (
        lambda: Label(response="0", good=True, interaction="elsewhere", annotator=ADA),
        "^interaction: .*'elsewhere'",
    ),
    "a span outside the text": (
        lambda: Spans(response="0", spans=(Span(start=0, end=6, label="x"),), **ABOUT),
        r"^spans\.0\.end: offset 6 .* 5 characters",
    ),
    "a step outside the text": (
        lambda: Steps(response="0", steps=(Step(start=0, end=6, verdict="right"),), **ABOUT),
        r"^steps\.0\.end: offset 6",
    ),
    "a criticised part outside the text": (
        lambda: Critique(response="0", text="x", start=0, end=6, **ABOUT),
        "^end: offset 6",
    ),
    "an edit that changes nothing": (lambda: Edit(response="0", text="Four.", **ABOUT), "^text: "),
    "a ranking of unknown responses": (
        lambda: Ranking(tiers=(("0",), ("9",)), **ABOUT),
        "^tiers: .*'9'",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_feedback_that_does_not_fit_its_interaction_is_rejected(case):
    make, message = MISFITS[case]
    with pytest.raises(RecordError, match=message):
        make().check(INTERACTION)


def test_offsets_count_code_points_not_bytes():
    interaction = Interaction.of("?", "naïve 🙂!")
    marked = Spans(
        interaction=interaction.id,
        annotator=ADA,
        response="0",
        spans=(Span(start=6, end=8, label="x"),),
    )
    marked.check(interaction)
    assert interaction.response("0").text[6:8] == "🙂!"


def test_both_bad_has_neither_chosen_nor_rejected():
    preference = Preference(a="0", b="1", verdict="both_bad", **ABOUT)
    assert preference.chosen is None
    assert preference.rejected is None


@pytest.mark.parametrize(
    ("verdict", "score"), [("a", 1), ("b", 0), ("tie", 0.5), ("both_bad", None)]
)
def test_the_score_of_a_verdict_is_that_of_the_first_response(verdict, score):
    assert verdict_score(verdict) == score


def test_bad_json_is_an_error_in_one_line_that_lists_the_kinds():
    with pytest.raises(RecordError) as caught:
        parse_feedback('{"kind": "thumb"}')
    assert "'rating'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_published_schema_describes_what_records_look_like():
    schema = json_schema()
    assert {entry["$ref"].rsplit("/", 1)[1] for entry in schema["oneOf"]} == {
        "Interaction", *(cls.__name__ for cls in KINDS.values())
    }  # fmt: skip
    for cls in (Interaction, *KINDS.values()):
        assert set(schema["$defs"][cls.__name__]["properties"]) == set(cls.model_fields)
    described = schema["$defs"]["Preference"]["properties"]["strength"]
    assert "strength of the preference" in described["description"].lower()
    json.dumps(schema)
