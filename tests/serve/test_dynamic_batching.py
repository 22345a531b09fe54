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
    """Repeats its prompt, and raises an error for prompts that begin with ``no``."""

    name = identity = "echo"

    def __init__(self):
        self.batches = []

    async def generate(self, requests):
        self.batches.append(len(requests))
        await asyncio.sleep(0.001)
        texts = [request.messages[-1].text for request in requests]
        if any(text.startswith("no") for text in texts):
            raise BacktalkError("not that")
        return [Completion(text=text, finish_reason="stop", usage=Usage(1, 1, 1)) for text in texts]

    def bound(self, request):
        return Usage(1, 1, 1)


def asking(*texts):
    return [Request(messages=as_prompt(text), sampling=Sampling()) for text in texts]


async def all_of(model, *groups):
    return await asyncio.gather(
        *(model.generate(asking(*texts)) for texts in groups), return_exceptions=True
    )


def test_each_gets_its_own_answer_from_one_batch():
    echo = Echo()
    results = asyncio.run(all_of(DynamicBatcher(echo), ["a"], ["b", "c"], [], ["d"]))
    assert [[answer.text for answer in each] for each in results] == [["a"], ["b", "c"], [], ["d"]]
    assert echo.batches == [4]


def test_what_comes_while_it_works_is_the_next_batch():
    echo = Echo()

    async def work():
        model = DynamicBatcher(echo)
        first = asyncio.create_task(model.generate(asking("a")))
        await asyncio.sleep(0.0005)
        return [await first, *await all_of(model, ["b"], ["c"])]

    assert [each[0].text for each in asyncio.run(work())] == ["a", "b", "c"]
    assert sum(echo.batches) == 3


def test_a_request_that_is_refused_is_so_alone():
    first, second, third = asyncio.run(all_of(DynamicBatcher(Echo()), ["a"], ["no"], ["b"]))
    assert isinstance(second, BacktalkError)
    assert [first[0].text, third[0].text] == ["a", "b"]


def test_a_caller_who_leaves_takes_nobody_along():
    async def work():
        model = DynamicBatcher(Echo())
        gone = asyncio.create_task(model.generate(asking("a")))
        stays = asyncio.create_task(model.generate(asking("b")))
        await asyncio.sleep(0.0005)
        gone.cancel()
        return (await stays)[0].text, gone.cancelled()

    text, cancelled = asyncio.run(work())
    assert text == "b"
    assert cancelled


def test_a_local_model_says_the_same_in_company():
    model = small_model("mail")
    prompts = get_world("mail").prompts("train", 4, seed=0)
    requests = [
        Request(messages=prompt, sampling=Sampling(max_tokens=24), seed=index)
        for index, prompt in enumerate(prompts)
    ]

    async def work(to_ask):
        return await asyncio.gather(*(to_ask.generate([request]) for request in requests))

    alone = asyncio.run(work(model))
    together = asyncio.run(work(DynamicBatcher(model)))
    assert [each[0].text for each in together] == [each[0].text for each in alone]


def test_what_nobody_expects_is_told_too():
    class Broken(Echo):
        async def generate(self, requests):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(DynamicBatcher(Broken()).generate(asking("a")))
