"""Proposers of prompts, with scripted writers and an exact signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import as_prompt, prompt_text
from backtalk.feedback.interaction import Prompt
from backtalk.learn.context import MethodContext
from backtalk.learn.prompt.dueling_bandit import NeuralDuelingBandit
from backtalk.learn.prompt.edits import lines, with_rules
from backtalk.learn.prompt.proposers.ape import ApeProposer, most_frequent
from backtalk.learn.prompt.proposers.apohf import DuelingProposer
from backtalk.learn.prompt.proposers.control import Controller, ControlProposer, make_controller
from backtalk.learn.prompt.proposers.gepa import ReflectiveProposer
from backtalk.learn.prompt.proposers.opro import HistoryProposer
from backtalk.learn.prompt.proposers.optoprime import OptoPrimeProposer
from backtalk.learn.prompt.proposers.promst import PromstProposer, select_by_model
from backtalk.learn.prompt.proposers.protegi import ProtegiProposer, select_by_bandit
from backtalk.learn.prompt.proposers.textgrad import TextGradProposer
from backtalk.learn.prompt.protocol import (
    PromptCandidate,
    Proposer,
    SearchState,
    TextFeedback,
    Trial,
)
from backtalk.learn.prompt.world_writer import WorldWriter, line_effects
from backtalk.learn.prompt.writer import InstructionWriter
from backtalk.models.fakes import FunctionModel
from backtalk.models.protocol import Request
from backtalk.models.run_sync import run_sync
from backtalk.worlds import get_world
from backtalk.worlds.skills import RULE_REQUEST
from backtalk.worlds.train.curriculum import GUIDANCE

USEFUL = ("Be brief.", "Be kind.")
"""Rules that raise the score of a prompt, each by a half."""
EXAMPLES = [as_prompt(f"Question {number}") for number in range(12)]
ANSWERS = [(prompt, "A good answer") for prompt in EXAMPLES]


class ExactSignal:
    """Signal that reads the score in the answer, and asks for the first rule that is missing."""

    name = "exact"

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> Any:
        return np.array([float(answer) for answer in answers])

    async def explain(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[TextFeedback]:
        return [
            TextFeedback(prompt, answer, "" if answer == "1.0" else "unkind and long")
            for prompt, answer in zip(prompts, answers, strict=True)
        ]


class RuleWriter:
    """Writer that knows five rules, and adds one at random."""

    group_size = 2
    rules = (*USEFUL, "Shout.", "Ramble.", "Mumble.")

    async def infer(
        self, candidate: PromptCandidate, groups: Sequence[Any], *, seed: int = 0
    ) -> list[PromptCandidate]:
        return self._add(candidate, len(groups), seed)

    async def criticise(
        self,
        candidate: PromptCandidate,
        batches: Sequence[Sequence[TextFeedback]],
        *,
        seed: int = 0,
    ) -> list[str]:
        return [" ".join(sorted({item.text for item in batch if item.text})) for batch in batches]

    async def revise(
        self,
        candidate: PromptCandidate,
        critiques: Sequence[str],
        batch: Sequence[TextFeedback],
        *,
        count: int = 1,
        seed: int = 0,
    ) -> list[PromptCandidate]:
        return self._add(candidate, count, seed) if any(critiques) else []

    async def vary(
        self, candidate: PromptCandidate, *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        return self._add(candidate, count, seed)

    async def find_direction(self, history: Any, *, seed: int = 0) -> str:
        return "\n".join(line for line, effect in line_effects(history).items() if effect > 0)

    async def continue_history(
        self, history: Any, direction: str = "", *, count: int = 1, seed: int = 0
    ) -> list[PromptCandidate]:
        base = with_rules(history[-1][0], [line for line in direction.split("\n") if line])
        return self._add(base, count, seed)

    def _add(self, candidate: PromptCandidate, count: int, seed: int) -> list[PromptCandidate]:
        rng = np.random.default_rng(seed)
        rules = [self.rules[i] for i in rng.integers(len(self.rules), size=count)]
        return [with_rules(candidate, (*candidate.template.rules, rule)) for rule in rules]


def true_score(candidate: PromptCandidate) -> float:
    return sum(rule in lines(candidate) for rule in USEFUL) / 2


async def evaluate(jobs: Sequence[tuple[PromptCandidate, int]]) -> list[tuple[str, float]]:
    return [(str(true_score(candidate)), true_score(candidate)) for candidate, _ in jobs]


def make_state(*candidates: PromptCandidate) -> SearchState:
    trials = [
        Trial(one, dict.fromkeys(range(4), true_score(one)), dict.fromkeys(range(4), "0.0"))
        for one in (PromptCandidate("Answer."), *candidates)
    ]
    # The proposers of these tests read neither policy nor feedback.
    return SearchState(
        context=cast(MethodContext, None),
        signal=ExactSignal(),
        examples=EXAMPLES,
        trials=trials,
        incumbent=0,
        rng=np.random.default_rng(3),
        evaluate=evaluate,
    )


PROPOSERS: dict[str, Callable[[Any], Proposer]] = {
    "ape": lambda writer: ApeProposer(writer, ANSWERS),
    "opro": lambda writer: HistoryProposer(writer, ANSWERS),
    "protegi": lambda writer: ProtegiProposer(writer, budget=40),
    "gepa": ReflectiveProposer,
    "textgrad": TextGradProposer,
    "optoprime": OptoPrimeProposer,
    "apohf": lambda writer: DuelingProposer(writer, ANSWERS, domain=12, comparisons=15),
    "promst": lambda writer: PromstProposer(writer, USEFUL),
    "control": lambda writer: ControlProposer(writer, controller=make_controller("pid")),
}


@pytest.mark.parametrize("name", PROPOSERS)
def test_a_proposer_reaches_the_best_prompt_in_a_few_rounds(name: str) -> None:
    state = make_state()
    proposer = PROPOSERS[name](RuleWriter())
    for _ in range(6):
        for candidate in run_sync(proposer.propose(state, 6)):
            assert candidate.proposer == name
            scores = dict.fromkeys(range(4), true_score(candidate))
            answers = dict.fromkeys(range(4), str(true_score(candidate)))
            state.trials.append(Trial(candidate, scores, answers))
        state.incumbent = max(range(len(state.trials)), key=lambda index: state.trials[index].mean)
    assert state.best.mean == 1.0
    versions = [trial.candidate.version for trial in state.trials]
    assert len(set(versions)) == len(versions), "each candidate is new"


def test_ape_prefers_instructions_that_are_inferred_often() -> None:
    a, b = PromptCandidate("A"), PromptCandidate("B")
    assert [one.system for one in most_frequent([a, b, b])] == ["B", "A"]


@pytest.mark.parametrize("budget", [20, 60])
def test_the_bandit_selects_the_best_arms_within_its_budget(budget: int) -> None:
    base = PromptCandidate(None)
    arms = [with_rules(base, [rule]) for rule in ("Shout.", *USEFUL, "Ramble.", "Mumble.")]
    calls = 0

    async def counted(jobs: Sequence[tuple[PromptCandidate, int]]) -> list[tuple[str, float]]:
        nonlocal calls
        calls += len(jobs)
        return await evaluate(jobs)

    state = make_state()
    state.evaluate = counted
    chosen = run_sync(select_by_bandit(state, arms, 2, budget=budget))
    assert {lines(one)[0] for one in chosen} == set(USEFUL)
    assert calls <= budget


def test_the_score_model_of_promst_prefers_the_words_of_good_prompts() -> None:
    base = PromptCandidate(None)
    known = [with_rules(base, [rule]) for rule in ("Be brief.", "Shout.", "Ramble.", "Mumble.")]
    state = make_state(*known)
    pool = [
        with_rules(base, ["Ramble.", "Shout."]),
        with_rules(base, ["Be brief.", "Mumble."]),
        with_rules(base, ["Mumble.", "Shout."]),
    ]
    (best,) = run_sync(select_by_model(state, pool, 1))
    assert "Be brief." in lines(best)


def test_the_integral_of_a_controller_grows_and_its_derivative_answers_changes() -> None:
    p, pi, pid = (make_controller(name) for name in ("p", "pi", "pid"))
    signals = [[c.update({"x": e})["x"] for e in (0.4, 0.4, 0.1)] for c in (p, pi, pid)]
    assert signals[0] == pytest.approx([0.4, 0.4, 0.1])
    assert signals[1] == pytest.approx([0.6, 0.8, 0.55])
    assert signals[2] == pytest.approx([0.6, 0.8, 0.55 - 0.25 * 0.3])


def test_the_sum_of_a_controller_is_limited() -> None:
    controller = Controller(kp=0, ki=1, windup=2.0)
    assert [controller.update({"x": 1.0})["x"] for _ in range(4)] == [1.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("seed", range(3))
def test_the_dueling_bandit_finds_the_best_arm_from_comparisons_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.random((20, 6)) < 0.4).astype(float)
    utilities = vectors @ rng.normal(size=6)
    bandit = NeuralDuelingBandit(vectors, seed=seed)
    for _ in range(40):
        first, second = bandit.select()
        assert first != second
        bandit.observe(first, second, first_won=float(utilities[first] > utilities[second]))
    spread = utilities.max() - utilities.min()
    assert utilities.max() - utilities[bandit.best] < 0.15 * spread


def test_the_gradient_of_the_bandit_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(0)
    bandit = NeuralDuelingBandit(rng.normal(size=(5, 3)), width=4)
    bandit.observe(0, 1, first_won=1)
    bandit.observe(2, 1, first_won=0.5)
    weights = bandit._weights + rng.normal(size=bandit._weights.size)
    gradient = bandit._loss(weights)[1]
    for index in range(0, weights.size, 3):
        step = np.zeros(weights.size)
        step[index] = 1e-6
        slope = (bandit._loss(weights + step)[0] - bandit._loss(weights - step)[0]) / 2e-6
        assert gradient[index] == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize(
    ("vectors", "options", "message"),
    [
        ([[1.0]], {}, "at least two arms"),
        ([[1.0], [2.0]], {"penalty": 0}, "above 0"),
        ([[1.0], [2.0]], {"width": 3}, "even number"),
    ],
)
def test_a_dueling_bandit_refuses_wrong_settings(
    vectors: list[list[float]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BacktalkError, match=message):
        NeuralDuelingBandit(vectors, **options)


def test_line_effects_compare_prompts_with_and_without_a_line() -> None:
    base = PromptCandidate(None)
    history = [
        (base, 0.2),
        (with_rules(base, ["A"]), 0.4),
        (with_rules(base, ["A", "B"]), 0.3),
    ]
    effects = line_effects(history)
    assert effects == pytest.approx({"A": 0.15, "B": 0.0})


def test_a_direction_that_leads_to_a_tried_prompt_is_departed_from() -> None:
    texts = ["Be brief.", "Be kind.", *GUIDANCE.values()]
    history = [
        (with_rules(PromptCandidate(None), group), len(group) / 10)
        for group in (*([text] for text in texts), texts[:1], texts)
    ]
    writer = WorldWriter(FunctionModel(lambda _: "", name="small"), "lists")
    direction = run_sync(writer.find_direction(history))
    assert set(direction.split("\n")) == set(texts)
    proposals = run_sync(writer.continue_history(history, direction, count=8))
    assert any(set(lines(one)) != set(texts) for one in proposals)


def test_an_instruction_writer_reads_the_tagged_reply() -> None:
    asked: list[str] = []

    def reply(request: Request) -> str:
        asked.append(prompt_text(request.messages))
        return "Sure. <prompt>Be brief.</prompt>"

    writer = InstructionWriter(FunctionModel(reply, name="writer"))
    seed = PromptCandidate("Answer.")
    feedback = TextFeedback(EXAMPLES[0], "A long answer", "Too long", "Short")
    (revised,) = run_sync(writer.revise(seed, ["It asks for no limit."], [feedback]))
    assert revised.system == "Be brief."
    for text in ("Answer.", "A long answer", "Too long", "Short", "It asks for no limit."):
        assert text in asked[0]


def test_a_world_writer_finds_a_rule_in_answers_refined_by_critiques() -> None:
    world = get_world("lists")
    prompts = world.prompts("train", 3)

    def reply(request: Request) -> str:
        text = request.messages[-1].text
        if text.endswith(RULE_REQUEST):
            return "End with Done in every list." if text.count("apples. Done") == 3 else "None"
        assert text == "Add Done."
        return "apples. Done"

    writer = WorldWriter(FunctionModel(reply, name="small"), "lists")
    batch = [TextFeedback(prompt, "apples", "Add Done.") for prompt in prompts]
    (revised,) = run_sync(writer.revise(PromptCandidate(None), ["Add Done."], batch))
    assert revised.template.rules == ("End with Done in every list.",)
