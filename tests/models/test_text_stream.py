"""Text that is reported while it is generated: a growing beginning of the final text."""

import asyncio

import numpy as np
import pytest

from backtalk.feedback import as_prompt
from backtalk.models import LocalModel, Request, Sampling
from backtalk.models.text_stream import TextStream, settled_text
from backtalk.models.wrappers.dynamic_batching import DynamicBatcher
from tests.models import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return LocalModel(str(tiny.save(tmp_path_factory.mktemp("models") / "tiny")))


def request(text="Hello", *, seed=0, **sampling):
    return Request(messages=as_prompt(text), sampling=Sampling(**sampling), seed=seed)


async def streamed(model, requests):
    """Return the completions, and the pieces of each."""
    streams = [TextStream() for _ in requests]

    async def pieces(stream):
        return [piece async for piece in stream.pieces()]

    reading = [asyncio.create_task(pieces(stream)) for stream in streams]
    completions = await model.generate_streamed(requests, streams)
    for stream in streams:
        stream.end()
    return completions, await asyncio.gather(*reading)


def test_pieces_are_the_beginning_of_the_same_text_as_without_streaming(model):
    requests = [request(f"Question {i}?", seed=i, max_tokens=40) for i in range(12)]
    completions, pieces = asyncio.run(streamed(model, requests))
    whole = asyncio.run(model.generate(requests))
    for completion, expected, parts in zip(completions, whole, pieces, strict=True):
        assert completion.text == expected.text
        assert completion.text.startswith("".join(parts))
        rest = completion.text.removeprefix("".join(parts))
        assert not rest.strip("\ufffd")
    assert max(map(len, pieces)) > 10


def test_no_part_of_a_stop_text_is_reported(model):
    plain = asyncio.run(model.generate([request(seed=i, max_tokens=40) for i in range(8)]))
    rng = np.random.default_rng(0)
    requests = []
    for seed, completion in enumerate(plain):
        start = int(rng.integers(4, len(completion.text) - 8))
        stop = completion.text[start : start + int(rng.integers(1, 8))]
        requests.append(request(seed=seed, max_tokens=40, stop=(stop,)))
    completions, pieces = asyncio.run(streamed(model, requests))
    for item, completion, parts in zip(requests, completions, pieces, strict=True):
        assert completion.text.startswith("".join(parts))
        assert item.sampling.stop[0] not in "".join(parts)
        assert completion.finish_reason == "stop"
        assert not completion.text.removeprefix("".join(parts)).strip("\ufffd")


def test_settled_text_equals_brute_force_over_all_continuations():
    """A character is settled if it is in the cut text of every continuation."""
    stops, letters = ["aba", "bb", "c"], "abc"

    def cut(text):
        cuts = [i for stop in stops if (i := text.find(stop)) >= 0]
        return text[: min(cuts)] if cuts else text

    texts = [""]
    for _ in range(5):
        texts += {text + letter for text in texts[-(3**5) :] for letter in letters}
    for text in set(texts):
        settled = settled_text(text, stops)
        futures = [text, *(text + a + b for a in [*letters, ""] for b in [*letters, ""])]
        assert all(cut(future).startswith(settled) for future in futures), text
        prefix = cut(text)
        common = [
            n
            for n in range(len(prefix) + 1)
            if all(cut(future).startswith(prefix[:n]) for future in futures)
        ]
        assert len(settled) == max(common), text


def test_a_cancelled_stream_ends_its_completion_alone(model):
    async def run():
        streams = [TextStream(), TextStream()]
        streams[0].cancel()
        requests = [request(seed=i, max_tokens=60) for i in range(2)]
        return await model.generate_streamed(requests, streams), await model.generate(requests)

    (first, second), (_, expected) = asyncio.run(run())
    assert first.usage.completion_tokens == 1
    assert second.text == expected.text


def test_concurrent_callers_of_a_batch_stream_each_their_own_text(model):
    async def run():
        batcher = DynamicBatcher(model)
        requests = [request(f"{i}?", seed=i, max_tokens=20) for i in range(4)]
        results = await asyncio.gather(*(streamed(batcher, [one]) for one in requests))
        return requests, results

    requests, results = asyncio.run(run())
    for item, ((completion,), (pieces,)) in zip(requests, results, strict=True):
        (expected,) = asyncio.run(model.generate([item]))
        assert completion.text == expected.text
        assert completion.text.startswith("".join(pieces))


def test_a_failure_of_one_caller_repeats_no_text_of_another(model):
    async def run():
        batcher = DynamicBatcher(model)
        good, bad = request(seed=1, max_tokens=12), request("word " * 400, max_tokens=12)
        return await asyncio.gather(
            streamed(batcher, [good]), batcher.generate([bad]), return_exceptions=True
        )

    ((completion,), (pieces,)), failure = asyncio.run(run())
    assert isinstance(failure, Exception)
    assert completion.text.startswith("".join(pieces))
    assert not completion.text.removeprefix("".join(pieces)).strip("\ufffd")


@pytest.mark.parametrize(
    ("text", "stops", "settled"),
    [
        ("ab\ufffd", ["b€"], "a"),
        ("\ufffd" * 5, [], "\ufffd" * 2),
        ("a\ufffdb", [], "a\ufffdb"),
        ("Yes\n", ["\n\n"], "Yes"),
        ("Yes\n\nNo", ["\n\n"], "Yes"),
        ("", ["x"], ""),
    ],
)
def test_incomplete_characters_are_not_settled(text, stops, settled):
    assert settled_text(text, stops) == settled
