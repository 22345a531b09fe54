"""Properties of rewards and of preference oracles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.feedback import as_prompt
from backtalk.models.run_sync import run_sync
from backtalk.rewards import PreferenceOracle, PromptResponse, ResponsePair, Reward


def check_reward(reward: Reward, answers: Sequence[PromptResponse]) -> None:
    """Check shape, bounds, order and independence of the batch."""
    assert isinstance(reward, Reward)
    assert reward.name
    scores = run_sync(reward.score(answers))
    assert np.shape(scores.mean) == (len(answers),)
    assert np.isfinite(scores.mean).all()
    if scores.std is not None:
        assert np.shape(scores.std) == (len(answers),)
        assert (scores.std >= 0).all()
    if reward.bounds is not None:
        low, high = reward.bounds
        assert ((low <= scores.mean) & (scores.mean <= high)).all()
    for answer, mean in zip(answers, scores.mean, strict=True):
        np.testing.assert_allclose(run_sync(reward.score([answer])).mean, [mean], atol=1e-9)
    reverse = run_sync(reward.score(list(reversed(answers))))
    np.testing.assert_allclose(reverse.mean[::-1], scores.mean, atol=1e-9)


def check_oracle(oracle: PreferenceOracle, pairs: Sequence[ResponsePair]) -> None:
    """Check that probabilities are in [0, 1] and that those of swapped pairs sum to 1."""
    assert isinstance(oracle, PreferenceOracle)
    assert oracle.name
    probabilities = run_sync(oracle.prefer(pairs))
    assert probabilities.shape == (len(pairs),)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    swapped = run_sync(oracle.prefer([(prompt, b, a) for prompt, a, b in pairs]))
    np.testing.assert_allclose(probabilities + swapped, 1)


class RewardLaws:
    """Tests of a reward: subclass it in a test module and implement :meth:`reward`.

    A subclass overrides :meth:`answers` if the reward does not score arbitrary responses.
    """

    def reward(self) -> Reward:
        """Return the reward."""
        raise NotImplementedError

    def answers(self) -> list[PromptResponse]:
        """Return prompts with responses."""
        texts = ("Yes.", "No, not on Sunday.", "We open at nine!")
        return [(as_prompt(prompt), text) for prompt in ("Is it open?", "Why?") for text in texts]

    def test_laws_of_rewards(self) -> None:
        """Check the reward."""
        check_reward(self.reward(), self.answers())
