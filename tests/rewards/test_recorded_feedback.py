"""Rewards by recorded feedback, and the registry of rewards."""

import asyncio

import pytest

from backtalk.errors import BacktalkError, NotFound, UnknownName
from backtalk.feedback import Annotator, Interaction, Label, Preference, Rating, as_prompt
from backtalk.feedback.case import Case, prompt_key
from backtalk.rewards import RecordedReward, get_reward, register_reward

ADA = Annotator.human("ada")
PROMPT = as_prompt("2 + 2?")


def case(kind, *texts, **fields):
    interaction = Interaction.of("2 + 2?", *texts)
    return Case(interaction, (kind(interaction=interaction.id, annotator=ADA, **fields),))


def value(reward, text):
    return asyncio.run(reward.score([(PROMPT, text)])).mean[0]


def test_scores_are_averaged():
    reward = RecordedReward.from_cases(
        [
            case(Rating, "4", response="0", value=5),
            case(Label, "4", response="0", good=False),
        ]
    )
    assert value(reward, "4") == 0.5


def test_a_common_reference_is_worth_one_half_and_is_not_a_candidate():
    cases = [
        case(Preference, text, "reference", a="0", b="1", verdict=v, probability=p)
        for text, v, p in (("x", "a", 0.9), ("y", "b", 0.2), ("z", "tie", 0.5))
    ]
    reward = RecordedReward.from_cases(cases)
    values = [value(reward, t) for t in ("x", "y", "z", "reference")]
    assert values == pytest.approx([0.9, 0.2, 0.5, 0.5])
    assert set(reward.candidates(prompt_key(PROMPT))) == {"x", "y", "z"}


def test_without_a_reference_the_value_is_the_win_rate():
    rounds = [("x", "y"), ("y", "z"), ("x", "z")]
    cases = [case(Preference, *pair, a="0", b="1", verdict="a") for pair in rounds]
    reward = RecordedReward.from_cases(cases)
    assert [value(reward, t) for t in "xyz"] == [1.0, 0.5, 0.0]
    assert len(reward.candidates(prompt_key(PROMPT))) == 3


def test_a_response_without_feedback_is_an_error():
    reward = RecordedReward.from_cases([case(Rating, "4", response="0", value=5)])
    with pytest.raises(NotFound, match="'5'"):
        value(reward, "5")


def test_rewards_are_registered_by_name():
    @register_reward("of-the-test")
    class Fixed:
        name, bounds = "fixed", None

        def __init__(self, aspect="all"):
            self.aspect = aspect

        async def score(self, answers): ...

    assert get_reward("of-the-test", "tone").aspect == "tone"
    assert get_reward("true-utility", "safe").name == "safe"
    with pytest.raises(UnknownName, match="true-utility"):
        get_reward("nobody")
    register_reward("no-reward")(dict)
    with pytest.raises(BacktalkError, match="not a reward"):
        get_reward("no-reward")
