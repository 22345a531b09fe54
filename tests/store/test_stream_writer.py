"""Records as they stream in: each has its outcome, and feedback may come first."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtalk.feedback import Annotator, Edit, Instruction, Interaction, Label, Scope
from backtalk.store.stream_writer import StreamWriter
from tests.strategies import cases

BO = Annotator.human("bo")


def talk_of(id_="talk"):
    return Interaction.of("Hi", "Hello").model_copy(update={"id": id_})


def thumb_of(id_="thumb", *, response="0", good=True):
    return Label(id=id_, interaction="talk", annotator=BO, response=response, good=good)


@pytest.fixture
def intake(store):
    return StreamWriter(store.engine)


def status(outcomes):
    return [outcome.status for outcome in outcomes]


def take(intake, *records):
    return status(intake.write([("default", record) for record in records]))


def test_each_record_has_its_outcome(store, intake):
    empty_edit = Edit(interaction="talk", annotator=BO, response="0", text="Hello")
    rule = Instruction(annotator=BO, text="Be brief.", scope=Scope())
    records = [thumb_of(), talk_of(), thumb_of("b", response="9"), empty_edit, rule, thumb_of()]
    result = intake.write([("default", record) for record in records])
    assert status(result) == ["stored", "stored", "rejected", "rejected", "stored", "duplicate"]
    assert "no response '9'" in result[2].reason
    assert take(intake, talk_of(), thumb_of(), thumb_of(good=False)) == [
        "duplicate", "duplicate", "conflict",
    ]  # fmt: skip
    assert store.counts() == {"interaction": 1, "instruction": 1, "label": 1}


def test_what_waits_is_joined_whichever_way_its_interaction_comes(store, intake):
    assert take(intake, thumb_of(), thumb_of("b", response="9")) == ["pending", "pending"]
    assert take(intake, thumb_of(), thumb_of(good=False)) == ["duplicate", "conflict"]
    assert status(intake.write([("other", talk_of())])) == ["stored"]
    assert intake.resolve_pending() == 2
    store.add(talk_of())
    assert intake.resolve_pending() == 0
    assert [item.id for item in store.case("talk").feedback] == ["thumb"]
    assert [unfit.project for unfit in intake.rejected] == ["default"]
    assert take(intake, thumb_of()) == ["duplicate"]


def test_what_is_about_a_deleted_interaction_is_refused(store, intake):
    take(intake, talk_of())
    store.delete("talk")
    (outcome,) = intake.write([("default", thumb_of())])
    assert (outcome.status, "was deleted" in outcome.reason) == ("rejected", True)


def test_a_purge_takes_what_waits_too(store, intake):
    take(intake, thumb_of())
    assert store.purge("bo").feedback == 1
    assert intake.resolve_pending() == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(found=st.lists(cases(max_feedback=4), max_size=3), data=st.data())
def test_the_order_of_arrival_does_not_matter(found, data, store, intake):
    records = [r for case in found for r in (case.interaction, *case.feedback)]
    shuffled = data.draw(st.permutations(records + records))
    cut = data.draw(st.integers(0, len(shuffled)))
    take(intake, *shuffled[:cut])
    take(intake, *shuffled[cut:])
    assert intake.resolve_pending() == 0
    for case in found:
        kept = store.case(case.interaction.id)
        assert {item.id: item for item in kept.feedback} == {i.id: i for i in case.feedback}
    assert intake.rejected == []
