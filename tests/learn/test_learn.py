"""Methods: availability, requirements and improvement of the policy."""

import asyncio
from typing import Annotated, Literal

import pytest
from pydantic import Field

from backtalk.errors import BacktalkError, UnknownName
from backtalk.evaluate.evaluate import evaluate
from backtalk.feedback import Annotator, Critique, Interaction, Label, Preference
from backtalk.feedback.views import CritiqueView, Pair
from backtalk.learn import (
    METHODS,
    Paper,
    TrainingSet,
    available_methods,
    get_method,
    in_split,
    method,
)
from backtalk.models import Request
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy, load_policy
from backtalk.run import Run
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.annotators import Person, give_feedback
from backtalk.worlds.generator_model import GeneratorModel
from backtalk.worlds.utility import TrueUtility

PLAIN = Policy(model=NamedSpec(name="writer"), name="plain")
MAIL = get_world("mail")
ADA = Person("ada", temperature=0.05)


def interactions(count):
    num_held_out = count // 5
    prompts = [
        *MAIL.prompts("train", count - num_held_out),
        *MAIL.prompts("held-out", num_held_out),
    ]
    drafts = asyncio.run(
        GeneratorModel().generate(
            [Request(messages=prompt, sample_index=i) for prompt in prompts for i in range(3)]
        )
    )
    return [
        Interaction.of(prompt, *(d.text for d in drafts[3 * n : 3 * n + 3]))
        for n, prompt in enumerate(prompts)
    ]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(tmp_path_factory.mktemp("learn") / "s.db") as opened:
        for interaction in interactions(400):
            opened.add(interaction, *give_feedback(ADA, "ranking", interaction))
        yield opened


def test_learning_makes_the_policy_better(store):
    run = Run(seed=1)
    learned = asyncio.run(get_method("best-of-n").learn(PLAIN, TrainingSet(store), run, n="6"))
    held_out = MAIL.prompts("held-out", 150, seed=2)
    result, _ = asyncio.run(
        evaluate(
            load_policy(learned, store.artifacts),
            load_policy(PLAIN),
            held_out,
            TrueUtility(),
            run=run,
        )
    )
    assert result.win_rate.low > 0.5
    assert all(c.difference.low > 0 for c in result.choices)
    lineage = learned.lineage
    assert (lineage.method, lineage.parent, lineage.seed) == ("best-of-n", PLAIN.id, 1)
    assert lineage.options["n"] == learned.decoder.n == 6
    assert lineage.snapshot.counts["ranking"] == 320


def test_the_same_feedback_and_seed_give_the_same_policy(store):
    make = get_method("best-of-n").learn
    one, other = (asyncio.run(make(PLAIN, TrainingSet(store), Run(seed=1), n=2)) for _ in "ab")
    assert one.id == other.id
    assert one.lineage.snapshot == other.lineage.snapshot


def test_prompts_for_evaluation_are_not_learned_from(store):
    learned_from = {c.interaction.prompt for c in TrainingSet(store).cases()}
    held_out = {c.interaction.prompt for c in TrainingSet(store, split="held-out").cases()}
    everything = {c.interaction.prompt for c in TrainingSet(store, split="all").cases()}
    assert learned_from | held_out == everything
    assert not learned_from & held_out
    assert all(in_split(prompt, "held-out") for prompt in held_out)
    assert 0.1 < len(held_out) / len(everything) < 0.3


def test_only_the_kinds_asked_for_are_learned_from(store):
    assert list(TrainingSet(store, kinds=["label"]).cases()) == []
    assert len(TrainingSet(store, kinds=["ranking"]).views(Pair)) > 100
    with pytest.raises(UnknownName, match="thumbs"):
        list(TrainingSet(store, kinds=["thumbs"]).cases())


def test_responses_of_different_interactions_compare_across_a_prompt(tmp_path):
    with Store(tmp_path / "s.db") as opened:
        for text, good in (("4", True), ("5", False)):
            interaction = Interaction.of("2 + 2?", text)
            ada = Annotator.human("ada")
            opened.add(
                interaction,
                Label(interaction=interaction.id, annotator=ada, response="0", good=good),
            )
        feedback = TrainingSet(opened, split="all")
        assert feedback.views(Pair, across="interaction") == []
        (pair,) = feedback.views(Pair)
        assert (pair.chosen, pair.rejected) == ("4", "5")


def test_what_can_run_is_told_by_what_the_feedback_can_be_seen_as(store, tmp_path):
    (ready,) = [item for item in available_methods(store) if item.method.name == "best-of-n"]
    assert (ready.available, ready.kinds, ready.reasons) == (True, ("ranking",), ())
    with Store(tmp_path / "s.db") as opened:
        interaction = Interaction.of("2 + 2?", "4", "5")
        fields = {"interaction": interaction.id, "annotator": Annotator.human("ada")}
        opened.add(interaction, Critique(**fields, text="Hm."))
        opened.add(Preference(**fields, a="0", b="1", verdict="both_bad"))
        (result,) = [item for item in available_methods(opened) if item.method.name == "best-of-n"]
        assert not result.available
        assert "both good and bad answers" in result.reasons[0]
        views = {item.view: item.views for item in result.sources if item.kind == "preference"}
        assert views == {"Pair": 0, "LabelView": 2}


def test_a_method_says_what_it_is():
    result = get_method("best-of-n")
    assert (result.target, result.needs) == ("decoding", (Pair,))
    assert set(result.kinds) >= {"preference", "ranking", "rating", "edit", "choice", "outcome"}
    assert result.paper.year == 2020
    assert result.summary.endswith(".")


def test_options_are_converted_and_refused_by_name():
    result = get_method("best-of-n")
    assert result.read_options({"n": "4"})["n"] == 4
    with pytest.raises(UnknownName, match="Did you mean 'embedder'"):
        result.read_options({"embeder": "hashed"})
    with pytest.raises(BacktalkError, match="n: "):
        result.read_options({"n": "1"})
    with pytest.raises(UnknownName, match="best-of-n"):
        get_method("best-off-n")


def test_a_method_can_be_added(store, monkeypatch):
    monkeypatch.setattr(METHODS, "_items", dict(METHODS._items))

    @method("polite", target="prompt", needs=[CritiqueView], paper=Paper("A note", "Ada", 2026))
    async def polite(
        policy: Policy,
        feedback: TrainingSet,
        run: Run,
        *,
        tone: Literal["warm", "cool"] = "warm",
        times: Annotated[int, Field(gt=0)] = 1,
    ) -> Policy:
        """Ask for politeness."""
        return policy.derive(system=f"Be {tone}. " * times, lineage=policy.lineage)

    learned = asyncio.run(
        get_method("polite").learn(PLAIN, TrainingSet(store), Run(), tone="cool", times="2")
    )
    assert learned.system == "Be cool. Be cool. "


def test_feedback_without_a_pair_is_an_error_with_a_mend(tmp_path):
    with Store(tmp_path / "s.db") as opened, pytest.raises(BacktalkError, match="Collect"):
        asyncio.run(get_method("best-of-n").learn(PLAIN, TrainingSet(opened), Run()))
