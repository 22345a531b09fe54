"""Demonstrations chosen by name, and principles from mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from backtalk.feedback import Annotator, Edit, Interaction, as_prompt, prompt_text
from backtalk.learn import TrainingSet, learn
from backtalk.learn.context import MethodContext
from backtalk.learn.prompt.coverage import clustered, covering
from backtalk.learn.prompt.proposers.demonstrations import (
    AutoCotProposer,
    BootstrapProposer,
    ContemplationProposer,
    is_simple,
    parse_contemplation,
)
from backtalk.learn.prompt.proposers.principles import PrincipleProposer
from backtalk.learn.prompt.protocol import PromptCandidate, SearchState, Trial
from backtalk.learn.prompt.writer import InstructionWriter
from backtalk.models import Completion, FunctionModel, Request, register_model
from backtalk.models.run_sync import run_sync
from backtalk.models.spec import NamedSpec
from backtalk.policy import Policy
from backtalk.run import Run
from backtalk.store import Store

TOPICS = ("sums of numbers", "names of rivers", "dates in history")
EXAMPLES = [as_prompt(f"Question {number} about {TOPICS[number % 3]}") for number in range(12)]
GOOD = [(prompt, "A good answer, politely.") for prompt in EXAMPLES[:4]]


class Echo:
    """Evaluation whose score depends on the instruction and on the demonstrations of a prompt."""

    def __init__(self) -> None:
        self.jobs: list[tuple[PromptCandidate, int]] = []

    async def __call__(
        self, jobs: Sequence[tuple[PromptCandidate, int]]
    ) -> list[tuple[str, float]]:
        self.jobs += jobs
        return [(f"Answer {index}.", self.score(candidate, index)) for candidate, index in jobs]

    def score(self, candidate: PromptCandidate, index: int) -> float:
        shown = [one.answer for one in candidate.template.demonstrations]
        value = 0.1 + 0.02 * (index % 3)
        value += 0.4 if candidate.system == "Be polite." else 0.0
        return value + (0.4 if any("politely" in answer for answer in shown) else 0.0)


def make_state(evaluate: Any, context: Any = None) -> SearchState:
    return SearchState(
        context=context,
        signal=None,  # type: ignore[arg-type]
        examples=EXAMPLES,
        trials=[Trial(PromptCandidate("Answer."))],
        incumbent=0,
        rng=np.random.default_rng(2),
        evaluate=evaluate,
    )


def writer(reply: Any) -> InstructionWriter:
    return InstructionWriter(FunctionModel(reply, name="writer"))


def test_bootstrapping_chooses_instruction_and_demonstrations_together() -> None:
    texts = iter(["<prompt>Be polite.</prompt>", "<prompt>Shout.</prompt>"] * 20)
    echo = Echo()
    proposer = BootstrapProposer(writer(lambda _: next(texts)), GOOD, tried=60)
    first, *_ = run_sync(proposer.propose(make_state(echo), 6))
    assert first.system == "Be polite."
    assert any("politely" in one.answer for one in first.template.demonstrations)
    shown_own = [
        (candidate, index)
        for candidate, index in echo.jobs
        if EXAMPLES[index] in [one.prompt for one in candidate.template.demonstrations]
    ]
    assert not shown_own, "no answer is scored to a request that its prompt shows"


def test_bootstrapping_without_answers_of_people_shows_the_policys_best() -> None:
    proposer = BootstrapProposer(writer(lambda _: "<prompt>Shout.</prompt>"), [], tried=24)
    candidates = run_sync(proposer.propose(make_state(Echo()), 30))
    shown = {one.answer for c in candidates for one in c.template.demonstrations}
    assert shown <= {f"Answer {index}." for index in range(12) if index % 3 == 2}
    assert shown


def test_auto_cot_takes_one_simple_request_of_each_cluster() -> None:
    state = make_state(Echo())
    candidates = run_sync(AutoCotProposer(sizes=(3,)).propose(state, 6))
    plain, stepwise = candidates
    for candidate in candidates:
        requests = [prompt_text(one.prompt) for one in candidate.template.demonstrations]
        assert {text.split(" about ")[1] for text in requests} == set(TOPICS)
    assert plain.template.rules == ()
    assert stepwise.template.rules == ("Let's think step by step.",)
    assert len(run_sync(AutoCotProposer(sizes=(3,), trigger="").propose(state, 6))) == 1


@pytest.mark.parametrize(
    ("request_", "answer", "simple"),
    [
        ("Short", "One. Two. Three.", True),
        ("Short", "One. Two. Three. Four. Five. Six.", False),
        ("Short", "1\n2\n3\n4\n5\n6", False),
        ("word " * 61, "One.", False),
        ("Short", "  ", False),
    ],
)
def test_simple_requests_are_short_and_need_few_steps(
    request_: str, answer: str, simple: bool
) -> None:
    assert is_simple(request_, answer) is simple


def test_contemplated_demonstrations_are_the_models_own() -> None:
    made = [{"request": "Which river is in Rome?", "answer": "The Tiber."}, {"request": ""}]
    requests: list[str] = []

    def reply(request: Request) -> str:
        requests.append(request.messages[-1].text)
        return f"Sure: {json.dumps(made)}"

    candidates = run_sync(ContemplationProposer(writer(reply)).propose(make_state(Echo()), 4))
    assert {c.template.demonstrations[0].answer for c in candidates} == {"The Tiber."}
    assert all(len(c.template.demonstrations) == 1 for c in candidates)
    assert "about" in requests[0], "requests of users show the kind"
    assert parse_contemplation("no list") == parse_contemplation("[1, {]") == []


def test_clusters_and_coverage_find_the_topics() -> None:
    texts = [prompt_text(prompt) for prompt in EXAMPLES]
    groups = run_sync(clustered(texts, 3, "hashed"))
    assert sorted(map(sorted, groups)) == [[i, i + 3, i + 6, i + 9] for i in range(3)]
    chosen = run_sync(covering(texts, 3, "hashed"))
    assert {index % 3 for index in chosen} == {0, 1, 2}
    assert len(run_sync(covering(texts[:2], 5, "hashed"))) == 2


@register_model("hasty")
def _hasty() -> FunctionModel:
    def answer(request: Request) -> Completion | str:
        system = " ".join(m.text for m in request.messages if m.role == "system")
        number = request.messages[-1].text.split()[-1]
        if "State the principle" in request.messages[-1].text:
            return "<prompt>Add one to the number.</prompt>"
        return f"It is {int(number) + ('Add one' in system)}."

    return FunctionModel(answer, name="hasty")


HASTY = Policy(model=NamedSpec(name="hasty"), name="hasty")


def test_principles_learned_from_mistakes_become_rules(tmp_path: Any) -> None:
    with Store(tmp_path / "s.db") as store:
        for number in range(40):
            item = Interaction.of(f"What follows {number}", f"It is {number}.")
            about = {"interaction": item.id, "annotator": Annotator.human("ada"), "response": "0"}
            store.add(item, Edit(**about, text=f"It is {number + 1}."))
        options = {"candidates": 3, "examples": 12, "confirmation": 16}
        learned = learn("leap-prompt", HASTY, store, shown=4, **options)
        assert learned.prompt is not None
        assert learned.prompt.rules == ("Add one to the number.",)
        assert learned.lineage.method == "leap-prompt"


def test_high_level_principles_are_condensed_from_low_level_ones(tmp_path: Any) -> None:
    numbers = iter(range(100))

    def reply(request: Request) -> str:
        text = request.messages[-1].text
        if "Condense" in text:
            return "1. Be exact.\n2. Be kind."
        return f"<prompt>Mind case {next(numbers)}.</prompt>"

    prompts = [as_prompt(f"What follows {number}") for number in range(4)]
    answers = [(prompt, "It is well.") for prompt in prompts]
    with Store(tmp_path / "s.db") as store, Run(seed=0) as run:
        context = MethodContext(HASTY, TrainingSet(store), run)
        proposer = PrincipleProposer(writer(reply), answers, samples=1, principles=2)
        candidates = run_sync(proposer.propose(make_state(Echo(), context), 6))
        high, low, *single = [one.template.rules for one in candidates]
        assert high == ("Be exact.", "Be kind.")
        assert low == tuple(f"Mind case {number}." for number in range(4))
        assert single == [("Be exact.",), ("Be kind.",)]
        assert run_sync(proposer.propose(make_state(Echo(), context), 6)) == []
