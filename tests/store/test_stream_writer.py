"""Streaming writes: each record has an outcome, and feedback may precede its interaction."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtalk.feedback import Annotator, Edit, Instruction, Interaction, Label, Message, Scope
from backtalk.store.stream_writer import StreamWriter
from tests.strategies import cases

BO = Annotator.human("bo")


def make_interaction(id_="talk"):
    return Interaction.of("Hi", "Hello").model_copy(update={"id": id_})


def make_label(id_="thumb", *, response="0", good=True):
    return Label(id=id_, interaction="talk", annotator=BO, response=response, good=good)


@pytest.fixture
def writer(store):
    return StreamWriter(store.engine)


def get_statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def write(writer, *records):
    return get_statuses(writer.write([("default", record) for record in records]))


def test_each_record_has_its_outcome(store, writer):
    empty_edit = Edit(interaction="talk", annotator=BO, response="0", text="Hello")
    rule = Instruction(annotator=BO, text="Be brief.", scope=Scope())
    records = [
        make_label(),
        make_interaction(),
        make_label("b", response="9"),
        empty_edit,
        rule,
        make_label(),
    ]
    result = writer.write([("default", record) for record in records])
    assert get_statuses(result) == [
        "stored",
        "stored",
        "rejected",
        "rejected",
        "stored",
        "duplicate",
    ]
    assert "no response '9'" in result[2].reason
    assert write(writer, make_interaction(), make_label(), make_label(good=False)) == [
        "duplicate", "duplicate", "conflict",
    ]  # fmt: skip
    assert store.counts() == {"interaction": 1, "instruction": 1, "label": 1}


def test_of_two_records_with_one_id_in_a_batch_the_second_has_its_own_status(store, writer):
    other = make_interaction().model_copy(update={"prompt": (Message.user("Else"),)})
    labels = make_label(), make_label(), make_label(good=False)
    assert write(writer, make_interaction(), *labels, other, make_interaction("b")) == [
        "stored", "stored", "duplicate", "conflict", "duplicate", "stored"
    ]  # fmt: skip
    assert store.interaction("talk").prompt[0].text == "Hi"
    assert write(writer, make_interaction(), make_interaction()) == ["duplicate", "duplicate"]


def test_pending_feedback_is_stored_however_its_interaction_arrives(store, writer):
    assert write(writer, make_label(), make_label("b", response="9")) == ["pending", "pending"]
    assert write(writer, make_label(), make_label(good=False)) == ["duplicate", "conflict"]
    assert get_statuses(writer.write([("other", make_interaction())])) == ["stored"]
    assert writer.resolve_pending() == 2
    store.add(make_interaction())
    assert writer.resolve_pending() == 0
    assert [item.id for item in store.case("talk").feedback] == ["thumb"]
    assert [rejected.project for rejected in writer.rejected] == ["default"]
    assert write(writer, make_label()) == ["duplicate"]


def test_feedback_on_a_deleted_interaction_is_rejected(store, writer):
    write(writer, make_interaction())
    store.delete("talk")
    (outcome,) = writer.write([("default", make_label())])
    assert (outcome.status, "was deleted" in outcome.reason) == ("rejected", True)


def test_a_purge_includes_pending_feedback(store, writer):
    write(writer, make_label())
    assert store.purge("bo").feedback == 1
    assert writer.resolve_pending() == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(generated=st.lists(cases(max_feedback=4), max_size=3), data=st.data())
def test_the_order_of_arrival_does_not_matter(generated, data, store, writer):
    records = [r for case in generated for r in (case.interaction, *case.feedback)]
    shuffled = data.draw(st.permutations(records + records))
    cut = data.draw(st.integers(0, len(shuffled)))
    write(writer, *shuffled[:cut])
    write(writer, *shuffled[cut:])
    assert writer.resolve_pending() == 0
    for case in generated:
        stored = store.case(case.interaction.id)
        assert {item.id: item for item in stored.feedback} == {i.id: i for i in case.feedback}
    assert writer.rejected == []
