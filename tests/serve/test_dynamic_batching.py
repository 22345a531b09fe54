"""Dynamic batching: each request of a batch gets its own completion or error."""

import asyncio

import pytest

from backtalk.errors import BacktalkError
from backtalk.feedback import as_prompt
from backtalk.models import Completion, Request, Sampling, Usage
from backtalk.models.wrappers.dynamic_batching import DynamicBatcher
from backtalk.worlds import get_world
from backtalk.worlds.small import small_model


class Echo:
    """Model that repeats its prompt, and raises an error for prompts that begin with ``no``."""

    name = identity = "echo"

    def __init__(self):
        self.batches = []

    async def generate(self, requests):
        self.batches.append(len(requests))
        await asyncio.sleep(0.001)
        texts = [request.messages[-1].text for request in requests]
        if any(text.startswith("no") for text in texts):
            raise BacktalkError("refused")
        return [Completion(text=text, finish_reason="stop", usage=Usage(1, 1, 1)) for text in texts]

    def bound(self, request):
        return Usage(1, 1, 1)


def make_requests(*texts):
    return [Request(messages=as_prompt(text), sampling=Sampling()) for text in texts]


async def generate_all(model, *groups):
    return await asyncio.gather(
        *(model.generate(make_requests(*texts)) for texts in groups), return_exceptions=True
    )


def test_each_request_gets_its_own_completion_from_one_batch():
    echo = Echo()
    results = asyncio.run(generate_all(DynamicBatcher(echo), ["a"], ["b", "c"], [], ["d"]))
    assert [[answer.text for answer in completions] for completions in results] == [
        ["a"],
        ["b", "c"],
        [],
        ["d"],
    ]
    assert echo.batches == [4]


def test_requests_that_arrive_during_a_batch_form_the_next_one():
    echo = Echo()

    async def work():
        model = DynamicBatcher(echo)
        first = asyncio.create_task(model.generate(make_requests("a")))
        await asyncio.sleep(0.0005)
        return [await first, *await generate_all(model, ["b"], ["c"])]

    assert [completions[0].text for completions in asyncio.run(work())] == ["a", "b", "c"]
    assert sum(echo.batches) == 3


def test_an_error_of_one_request_does_not_affect_its_batch():
    first, second, third = asyncio.run(generate_all(DynamicBatcher(Echo()), ["a"], ["no"], ["b"]))
    assert isinstance(second, BacktalkError)
    assert [first[0].text, third[0].text] == ["a", "b"]


def test_a_cancelled_request_does_not_cancel_the_others_of_its_batch():
    async def work():
        model = DynamicBatcher(Echo())
        cancelled_task = asyncio.create_task(model.generate(make_requests("a")))
        other_task = asyncio.create_task(model.generate(make_requests("b")))
        await asyncio.sleep(0.0005)
        cancelled_task.cancel()
        return (await other_task)[0].text, cancelled_task.cancelled()

    text, cancelled = asyncio.run(work())
    assert text == "b"
    assert cancelled


def test_a_local_model_gives_the_same_completions_in_a_batch():
    model = small_model("mail")
    prompts = get_world("mail").prompts("train", 4, seed=0)
    requests = [
        Request(messages=prompt, sampling=Sampling(max_tokens=24), seed=index)
        for index, prompt in enumerate(prompts)
    ]

    async def work(wrapped):
        return await asyncio.gather(*(wrapped.generate([request]) for request in requests))

    separate = asyncio.run(work(model))
    batched = asyncio.run(work(DynamicBatcher(model)))
    assert [completions[0].text for completions in batched] == [
        completions[0].text for completions in separate
    ]


def test_unexpected_errors_are_raised_too():
    class Broken(Echo):
        async def generate(self, requests):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(DynamicBatcher(Broken()).generate(make_requests("a")))
