"""Batches in which some requests are too long for the model."""

from collections import Counter

import pytest

from backtalk.feedback import Message
from backtalk.models import FunctionModel, Request
from backtalk.models.errors import BadRequest, ContextTooLong
from backtalk.models.fitting_requests import generate_fitting
from backtalk.models.run_sync import run_sync


def answer(calls, text):
    calls[text] += 1
    if text == "long":
        raise ContextTooLong("A prompt of 600 tokens does not fit")
    if text == "bad":
        raise BadRequest("An option is unknown")
    return text.upper()


def generate(*texts):
    calls = Counter()
    model = FunctionModel(lambda request: answer(calls, request.messages[-1].text), name="narrow")
    model.concurrency = 1
    requests = [Request(messages=(Message.user(text),)) for text in texts]
    completions = run_sync(generate_fitting(model, requests))
    return [None if one is None else one.text for one in completions], calls


@pytest.mark.parametrize("texts", [("a", "long", "b"), ("long",), ("long", "a", "long"), ("a",)])
def test_requests_that_do_not_fit_have_no_completion_and_others_are_generated_once(texts):
    completions, calls = generate(*texts)
    assert completions == [None if text == "long" else text.upper() for text in texts]
    assert all(calls[text] == 1 for text in texts if text != "long")


@pytest.mark.parametrize("texts", [("bad", "long"), ("long", "bad")])
def test_other_failures_are_errors(texts):
    with pytest.raises(BadRequest):
        generate(*texts)
