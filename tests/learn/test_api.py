"""learn() and alearn(): a method by name, a policy by name, and a saved result."""

import asyncio
import inspect

import pytest

import backtalk.learn
from backtalk.errors import BacktalkError, NotFound, UnknownName
from backtalk.feedback import Annotator, Interaction, Ranking
from backtalk.learn import alearn, learn
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, read_policy, save_policy
from backtalk.promotion import promote
from backtalk.store import Store

PLAIN = Policy(model=NamedSpec(name="writer"), name="plain")


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        for number in range(12):
            interaction = Interaction.of(f"{number} + 1?", f"{number + 1}", "I do not know.")
            ranking = Ranking(
                interaction=interaction.id, annotator=Annotator.human("ada"), tiers=(("0",), ("1",))
            )
            opened.add(interaction, ranking)
        save_policy(opened, PLAIN)
        yield opened


def test_a_policy_is_learned_named_and_saved(store):
    learned = learn("best-of-n", "plain", store, name="chooser", n=4)
    assert learned.decoder.n == 4
    assert learned.lineage.parent == PLAIN.id
    assert read_policy(store, "chooser").id == learned.id


def test_the_asynchronous_form_learns_the_same_policy(store):
    learned = asyncio.run(alearn("best-of-n", PLAIN, store, n="4"))
    assert learned.id == learn("best-of-n", PLAIN, store, n=4).id


def test_learn_works_inside_a_running_event_loop(store):
    async def main():
        return learn("best-of-n", PLAIN, store, n=4)

    assert asyncio.run(main()).decoder.n == 4


def test_the_active_policy_is_improved_by_default(store):
    with pytest.raises(NotFound, match="no active policy"):
        learn("best-of-n", None, store)
    promote(store, PLAIN, actor="ada")
    assert learn("best-of-n", None, store, n=2).lineage.parent == PLAIN.id


def test_kinds_and_split_select_the_feedback(store):
    with pytest.raises(BacktalkError):
        learn("best-of-n", PLAIN, store, kinds=["label"])
    assert learn("best-of-n", PLAIN, store, split="all").lineage.snapshot.split == "all"


def test_unknown_names_are_refused_before_anything_is_done(store):
    with pytest.raises(UnknownName, match="best-of-n"):
        learn("best-off-n", PLAIN, store)
    with pytest.raises(UnknownName, match="embedder"):
        learn("best-of-n", PLAIN, store, embeder="hashed")
    with pytest.raises(NotFound):
        learn("best-of-n", "nobody", store)


def test_the_run_has_a_folder(store, tmp_path):
    learn("best-of-n", PLAIN, store, folder=tmp_path / "run", n=2)
    assert (tmp_path / "run").is_dir()


def test_the_package_is_callable(store):
    assert backtalk.learn("best-of-n", PLAIN, store, n=2).decoder.n == 2


def test_both_forms_have_the_same_parameters():
    assert inspect.signature(learn) == inspect.signature(alearn)
