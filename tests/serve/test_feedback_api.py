"""Feedback API: every kind, short forms, batches, idempotency, pending feedback."""

import json

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtalk.errors import RecordError
from backtalk.feedback import KINDS, Annotator, Interaction, Scale, short_feedback
from backtalk.serve.feedback.schema import read_row, row_schema
from backtalk.store import Store
from tests.strategies import cases


@pytest.fixture
def interaction(gateway):
    """Id of a completion with two choices."""
    return gateway.chat("Hello", n=2).json()["id"]


def stored_feedback(gateway):
    with gateway.store as store:
        return list(store.feedback())


def test_thumbs_edits_and_comments_have_a_short_form(gateway, interaction):
    for row in (
        {"interaction": interaction, "thumb": "down", "user": "bo"},
        {"interaction": interaction, "edit": "Good day.", "response": "1"},
        {"interaction": interaction, "comment": "Too short.", "confidence": 0.5},
    ):
        answer = gateway.feedback(row)
        assert answer.status_code == 201, answer.text
        assert answer.json()["status"] == "stored"
    label, edit, critique = stored_feedback(gateway)
    assert (label.kind, label.good, label.response, label.annotator.id) == (
        "label", False, "0", "bo",
    )  # fmt: skip
    assert (edit.kind, edit.text, edit.response) == ("edit", "Good day.", "1")
    assert (critique.kind, critique.text, critique.confidence) == ("critique", "Too short.", 0.5)
    assert critique.annotator.id == "unknown"


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(case=cases())
def test_every_kind_round_trips(case, gateway):
    with gateway.store as store:
        store.add(case.interaction)
    rows = [item.to_dict() for item in case.feedback]
    if rows:
        body = {"feedback": rows}
        answer = gateway.http.post("/v1/feedback", json=body).json()
        assert [row["status"] for row in answer["results"]] == ["stored"] * len(rows)
        with Store(gateway.settings.store) as store:
            stored = {item.id: item for item in store.feedback()}
        assert all(stored[item.id] == item for item in case.feedback)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"thumb": "+"}, {"kind": "label", "good": True}),
        ({"thumb": "-", "aspect": "tone"}, {"good": False, "aspect": "tone"}),
        ({"rating": 4}, {"kind": "rating", "value": 4, "scale": Scale.STARS, "response": "0"}),
        ({"rating": "4.5 / 5"}, {"value": 4.5, "scale": Scale.STARS}),
        ({"rating": "80%", "response": "1"}, {"value": 80, "scale": Scale.PERCENT}),
        ({"rating": "7/10"}, {"value": 7, "scale": Scale(name="1 to 10", low=1, high=10)}),
        ({"rating": 6, "scale": 7}, {"value": 6, "scale": Scale.LIKERT_7}),
        ({"rating": 0, "scale": {"name": "nps", "low": 0, "high": 10}}, {"value": 0}),
        ({"prefer": 0}, {"kind": "preference", "chosen": "0", "rejected": "1"}),
        ({"prefer": "1", "aspect": "tone"}, {"chosen": "1", "rejected": "0", "aspect": "tone"}),
        ({"prefer": 2, "over": 1}, {"chosen": "2", "rejected": "1"}),
        ({"prefer": "tie"}, {"a": "0", "b": "1", "verdict": "tie"}),
        ({"prefer": "both_bad"}, {"verdict": "both_bad", "chosen": None}),
    ],
)
def test_short_forms_of_thumbs_ratings_and_one_of_two(row, expected):
    row = {"interaction": "i", "user": "bo", **row}
    feedback = read_row(row, annotator="unknown")
    assert {name: getattr(feedback, name) for name in expected} == expected
    assert feedback.annotator == Annotator.human("bo")
    jsonschema.Draft202012Validator(row_schema()).validate(row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"rating": "good"}, "4/5 or 80%"),
        ({"rating": True}, "4/5"),
        ({"rating": 10**400}, "4/5"),
        ({"rating": "6/5"}, "not on the scale"),
        ({"rating": "4/0"}, "1 or more"),
        ({"rating": "4/5", "scale": 5}, "names its scale already"),
        ({"rating": 4, "over": "1"}, "over"),
        ({"prefer": None}, "better response"),
        ({"prefer": 1, "over": 1}, "compared with itself"),
        ({"prefer": "tie", "over": 1}, "over"),
        ({"prefer": 1, "response": "1"}, "response"),
        ({"prefer": 1, "rating": 4}, "thumb, rating, prefer, edit, comment"),
    ],
)
def test_a_short_form_that_cannot_be_read_is_named(row, message):
    with pytest.raises(RecordError, match=message):
        read_row({"interaction": "i", **row}, annotator="x")


def test_short_feedback_fits_its_interaction():
    interaction = Interaction.of("Is it open?", "Yes.", "No.")
    assert short_feedback(interaction, prefer=1, user="ada").interaction == interaction.id
    assert short_feedback("i", rating="4/5", user="ada").interaction == "i"
    with pytest.raises(RecordError, match="no response '2'"):
        short_feedback(interaction, prefer=2, user="ada")


def test_invalid_rows_of_a_batch_are_reported_and_valid_ones_stored(gateway, interaction):
    rows = [
        {"interaction": interaction, "thumb": "up"},
        {"interaction": interaction, "thumb": "sideways"},
        {"interaction": interaction},
        {"interaction": interaction, "thumb": "up", "edit": "x"},
        {"interaction": interaction, "thumb": "up", "color": "red"},
        {"interaction": interaction, "thumb": "up", "response": "7"},
        {"interaction": interaction, "edit": "You said: Hello"},
        {"interaction": interaction, "kind": "rating", "value": 9, "response": "0"},
        "nonsense",
        {"interaction": interaction, "comment": ""},
        {"interaction": interaction, "comment": "Fine."},
    ]
    answer = gateway.feedback(*rows)
    assert answer.status_code == 207
    result = answer.json()
    assert (result["accepted"], result["rejected"]) == (2, 9)
    status = [row["status"] for row in result["results"]]
    assert status == ["stored", *["rejected"] * 9, "stored"]
    reasons = [row.get("reason", "") for row in result["results"]]
    for reason, word in zip(
        reasons[1:10],
        ("thumb", "kind", "kind", "color", "no response '7'", "same", "scale", "object", "text"),
        strict=True,
    ):
        assert word in reason, (reason, word)
    assert len(stored_feedback(gateway)) == 2


def test_a_single_invalid_row_is_an_error(gateway, interaction):
    answer = gateway.feedback({"interaction": interaction, "thumb": 3})
    assert answer.status_code == 422
    assert "thumb" in answer.json()["error"]["message"]
    answer = gateway.http.post("/v1/feedback", content=b"{")
    assert answer.status_code == 400
    assert gateway.http.post("/v1/feedback", json=[]).json()["results"] == []
    assert gateway.http.post("/v1/feedback", json=[1] * 1001).status_code == 413


def test_duplicates_are_stored_once(gateway, interaction):
    row = {"interaction": interaction, "thumb": "up", "user": "bo"}
    first = gateway.feedback(row, idempotency_key="k")
    repeated = gateway.feedback(row, idempotency_key="k")
    conflicting = gateway.feedback({**row, "thumb": "down"}, idempotency_key="k")
    assert [first.status_code, repeated.status_code, conflicting.status_code] == [201, 200, 409]
    assert first.json()["id"] == repeated.json()["id"]
    assert "taken" in conflicting.json()["error"]["message"]
    batch = [{**row, "id": "mine"}, {**row, "id": "mine"}, {**row, "id": "mine", "thumb": "down"}]
    result = gateway.feedback(*batch).json()["results"]
    assert [item["status"] for item in result] == ["stored", "duplicate", "conflict"]
    first_results = gateway.feedback(row, row, idempotency_key="k2").json()["results"]
    repeated = gateway.feedback(row, row, idempotency_key="k2").json()["results"]
    assert [item["status"] for item in first_results] == ["stored", "stored"]
    assert [item["status"] for item in repeated] == ["duplicate", "duplicate"]
    assert len(stored_feedback(gateway)) == 4


def test_feedback_is_pending_until_its_interaction_arrives(gateway):
    from backtalk.feedback import Interaction

    early = gateway.feedback({"interaction": "later", "thumb": "up"}, idempotency_key="k")
    assert (early.status_code, early.json()["status"]) == (202, "pending")
    repeated = gateway.feedback({"interaction": "later", "thumb": "up"}, idempotency_key="k")
    assert repeated.json()["status"] == "duplicate"
    misfit = gateway.feedback({"interaction": "later", "thumb": "up", "response": "9"})
    assert misfit.json()["status"] == "pending"
    assert stored_feedback(gateway) == []
    interaction = Interaction.of("Hi", "Hello").model_copy(update={"id": "later"})
    services = gateway.app.state.services
    services.writer.append_interaction("default", interaction)
    with gateway.store as store:
        assert [item.id for item in store.case("later").feedback] == [early.json()["id"]]
    (line,) = services.writer.dead_letters.path.read_text().splitlines()
    assert "no response '9'" in json.loads(line)["reason"]


def test_feedback_goes_to_the_project_in_the_interactions_id(gateway):
    row = {"interaction": "mail:0123", "thumb": "up"}
    gateway.feedback(row)
    gateway.feedback(row, X_Backtalk_Project="other")
    with gateway.store as store:
        assert store.projects() == ["default", "mail", "other"]


def test_rules_need_no_interaction(gateway):
    answer = gateway.feedback({"kind": "instruction", "text": "No emojis.", "user": "bo"})
    assert answer.json()["status"] == "stored"
    assert stored_feedback(gateway)[0].annotator.id == "bo"


def test_the_schema_agrees_with_the_reader(gateway):
    schema = gateway.http.get("/v1/feedback/schema").json()
    assert schema == row_schema()
    validator = jsonschema.Draft202012Validator(schema)
    good = [
        {"interaction": "i", "thumb": "up"},
        {"interaction": "i", "comment": "x", "user": "bo"},
        {"interaction": "i", "kind": "label", "response": "0", "good": True, "annotator": "bo"},
        {
            "interaction": "i",
            "kind": "preference",
            "a": "0",
            "b": "1",
            "verdict": "a",
            "annotator": {"id": "m", "kind": "model"},
        },
    ]
    for row in good:
        validator.validate(row)
        read_row(row, annotator="x")
    for row in ({"interaction": "i", "thumb": "no"}, {"interaction": "i"}, {"thumb": "up"}):
        assert not validator.is_valid(row)
    assert {f"#/$defs/{kind.__name__}" for kind in KINDS.values()} <= {
        item["$ref"] for item in schema["oneOf"]
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = [
    "interaction", "thumb", "rating", "scale", "prefer", "over", "edit", "comment", "kind",
    "annotator", "user", "id", "time",
]  # fmt: skip
ROWS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=5)


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(body=st.binary(max_size=40) | (ROWS | st.lists(ROWS | JSON, max_size=3)).map(json.dumps))
def test_no_request_body_causes_a_server_error(gateway, body):
    content = body if isinstance(body, bytes) else body.encode()
    for path in ("/v1/feedback", "/v1/chat/completions", "/v1/completions"):
        answer = gateway.http.post(path, content=content)
        assert answer.status_code < 500, (path, answer.text)
        assert answer.status_code < 400 or "error" in answer.json()
