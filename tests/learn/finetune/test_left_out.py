"""Rows of which no tokens can be made are left out, counted and listed with their records."""

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import (
    Annotator,
    Demonstration,
    Interaction,
    Label,
    Message,
    Preference,
    Ranking,
)
from backtalk.learn import TrainingSet, get_method
from backtalk.learn.left_out_rows import REASON, TooManyLeftOut, describe_left_out, read_left_out
from backtalk.models import LocalSpec
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.store import Store
from tests.models import tiny

ADA = Annotator.human("ada")
STRICT = (
    "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TWO_TURNS = [Message.user("Are you open?"), Message.user("Hello?")]


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "llama"
    return Policy(model=LocalSpec(model=tiny.save(folder, template=STRICT)))


def store_of(tmp_path, good, bad):
    """Return a store with rows that a strict template writes, and rows that it refuses."""
    store = Store(tmp_path / "feedback.db")
    for i in range(good):
        add(store, Interaction.of(f"Is shop {i} open?", "Yes, we open at nine.", "No."))
    for i in range(bad):
        add(store, Interaction.of([*TWO_TURNS, Message.user(f"Shop {i}?")], "Yes.", "No."))
    return store


def add(store, interaction):
    by = {"interaction": interaction.id, "annotator": ADA}
    store.add(
        interaction,
        Preference(**by, a="0", b="1", verdict="a"),
        Demonstration(**by, text="Yes, at nine."),
        Label(**by, response="0", good=True),
        Label(**by, response="1", good=False),
        Ranking(**by, tiers=(("0",), ("1",))),
    )
    return interaction.id


def learn(name, policy, store, **options):
    options = {"max_steps": 1, "batch_size": 2, "max_left_out": 0.5, **options}
    with Run(seed=0) as run:
        feedback = TrainingSet(store, split="all")
        return run_sync(get_method(name).learn(policy, feedback, run, **options))


@pytest.mark.parametrize("name", ["sft", "dpo", "kto", "lipo", "step-dpo"])
def test_a_refused_row_is_left_out_and_listed_with_its_record(name, strict, tmp_path):
    store = store_of(tmp_path, 6, 0)
    bad = add(store, Interaction.of(TWO_TURNS, "Yes.\nWe are.", "Yes.\nWe are not."))
    for i in range(3):
        add(store, Interaction.of(f"And shop {i}?", "Yes.\nWe are.", "Yes.\nWe are not."))
    learned = learn(name, strict, store)
    notes = learned.lineage.notes
    assert notes[f"left out: {REASON}"] >= 1
    rows = read_left_out(notes["left out rows"], store.artifacts)
    assert {row.record for row in rows} == {bad}
    assert all("roles must alternate" in row.reason for row in rows)
    lines = describe_left_out(learned, store.artifacts)
    assert any(bad in line for line in lines)
    assert lines[-1].endswith("left_out.jsonl")


def test_a_share_that_is_too_large_stops_the_run_and_names_the_first(strict, tmp_path):
    store = store_of(tmp_path, 17, 0)
    bad = [add(store, Interaction.of([*TWO_TURNS, Message.user(str(i))], "Yes.", "No."))
           for i in range(3)]  # fmt: skip
    with pytest.raises(TooManyLeftOut, match=rf"{bad[0]}.*roles must alternate") as raised:
        learn("dpo", strict, store, max_left_out=0.05)
    assert "9 of 60 rows (15%)" in str(raised.value)
    assert learn("dpo", strict, store, max_left_out=0.15).id


def test_nothing_is_listed_where_nothing_is_left_out(strict, tmp_path):
    learned = learn("dpo", strict, store_of(tmp_path, 4, 0), max_left_out=0)
    assert "left out rows" not in learned.lineage.notes
    assert describe_left_out(learned, Store(tmp_path / "other.db").artifacts) == []


def test_where_every_row_is_refused_the_reason_is_the_error(strict, tmp_path):
    with pytest.raises(TooManyLeftOut, match="roles must alternate"):
        learn("sft", strict, store_of(tmp_path, 0, 3))
    with pytest.raises(BacktalkError, match="max_left_out"):
        learn("sft", strict, store_of(tmp_path, 2, 0), max_left_out=2)
