"""Training of weights on the judgements of one aspect, and on answers that are all text."""

import pytest
import torch

from backtalk import learn
from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Interaction, Label, Message, Preference, Response
from backtalk.models.spec import LocalSpec
from backtalk.policy import Policy
from backtalk.store import Store
from tests.models.tiny import save

ADA = Annotator.human("ada")
CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
QUICK = {"max_steps": 1, "adapter": "none"}


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    torch.set_num_threads(1)
    return Policy(model=LocalSpec(model=save(tmp_path_factory.mktemp("tiny"))), name="tiny")


@pytest.fixture
def store(tmp_path):
    """Return a store with preferences on safety, one of them between two tool calls."""
    with Store(tmp_path / "s.db") as opened:
        for number in range(4):
            interaction = Interaction.of(f"Open {number}?", "Yes.", "No.")
            opened.add(interaction, preference(interaction))
        call = (Message(role="assistant", content=None, tool_calls=(CALL,)),)
        other = (Message(role="assistant", content=None, tool_calls=({**CALL, "id": "d"},)),)
        interaction = Interaction(
            prompt=(Message.user("Look."),),
            responses=(
                Response(id="0", text="", messages=call),
                Response(id="1", text="", messages=other),
            ),
        )
        opened.add(interaction, preference(interaction))
        yield opened


def preference(interaction):
    about = {"interaction": interaction.id, "annotator": ADA, "aspect": "safety"}
    return Preference(**about, a="0", b="1", verdict="a")


def test_training_without_an_overall_judgement_names_the_aspects_and_the_option(policy, store):
    with pytest.raises(BacktalkError, match=r"5 on safety.*aspect="):
        learn("dpo", policy, store, split="all", **QUICK)


def test_training_on_an_aspect_counts_answers_that_differ_only_in_what_is_not_written(
    policy, store
):
    learned = learn("dpo", policy, store, split="all", aspect="safety", **QUICK)
    notes = learned.lineage.notes
    assert notes["preference prompts"] == 4
    assert notes["left out: ties"] == 1  # the template writes no ids of calls


def test_best_of_n_says_what_it_left_out(policy, store):
    interaction = Interaction.of("Closed?", "Yes, today.", "No.")
    about = {"interaction": interaction.id, "annotator": ADA}
    store.add(
        interaction,
        Label(**about, response="0", good=True),
        Label(**about, response="1", good=False),
    )
    learned = learn("best-of-n", policy, store, split="all")
    assert learned.lineage.notes["pairs"] == 1
    assert learned.lineage.notes["left out: on the aspect safety"] == 5
