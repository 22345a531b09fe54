"""Weights of FAST: they remove what a prompt tells about an aspect."""

import asyncio

import numpy as np
import pytest

from backtalk.feedback import Message
from backtalk.learn.finetune.methods.control_codes import CodedResponse, propensity_weights

KINDS = ("letters about the late parcel", "questions on opening hours")


def examples(shares, count=50):
    """Return responses to two types of prompts, with the aspect at a share of each type."""
    return [
        CodedResponse((Message.user(kind),), f"answer {i}", {"short": i < share * count})
        for kind, share in zip(KINDS, shares, strict=True)
        for i in range(count)
    ]


def weights_of(rows, max_weight=100.0):
    return asyncio.run(propensity_weights(rows, "hashed", max_weight))


def share(rows, weights, kind):
    chosen = np.array([row.prompt[0].text == kind for row in rows])
    has = np.array([row.aspects["short"] for row in rows])
    return weights[chosen & has].sum() / weights[chosen].sum()


@pytest.mark.parametrize("shares", [(0.9, 0.1), (0.8, 0.4), (0.5, 0.98)])
def test_weighted_examples_have_the_aspect_as_often_at_either_type_of_prompt(shares):
    rows = examples(shares)
    weights = weights_of(rows)
    assert weights.mean() == pytest.approx(1)
    gap = share(rows, weights, KINDS[0]) - share(rows, weights, KINDS[1])
    assert abs(gap) < 0.4 * abs(shares[0] - shares[1])
    expected = [
        (0.5 * sum(shares) if row.aspects["short"] else 1 - 0.5 * sum(shares))
        / (own if row.aspects["short"] else 1 - own)
        for row in rows
        for own in [shares[KINDS.index(row.prompt[0].text)]]
    ]
    assert np.corrcoef(np.log(expected), np.log(weights))[0, 1] > 0.99


def test_weights_are_bounded_and_equal_without_a_difference():
    rows = examples((0.98, 0.02))
    weights = weights_of(rows, max_weight=1.5)
    assert weights.max() / weights.min() == pytest.approx(1.5**2)
    assert weights_of(rows, max_weight=1.0) == pytest.approx(np.ones(100))
    assert weights_of(examples((0.5, 0.5))) == pytest.approx(np.ones(100), abs=1e-3)
    assert weights_of(examples((1.0, 1.0))) == pytest.approx(np.ones(100))
