"""What holds for every model: check a new one by calling these with it.

A model here is given by a function that makes it afresh, so that nothing is carried over from one
check to the next.
"""

from collections.abc import Callable, Sequence

from backtalk.models import Completion, Model, ModelError, Request, Scorer, Streamer, Usage
from backtalk.models.run_sync import run_sync

Make = Callable[[], Model]


def check_model(make: Make, requests: Sequence[Request]) -> None:
    """Check all that holds for a model whose completions depend on the request alone.

    The requests should differ in prompt, sample and seed.
    """
    answers_each_in_order(make, requests)
    repeats_itself(make, requests)
    does_not_look_at_the_batch(make, requests)
    stays_within_its_bound(make, requests)
    says_who_it_is(make, requests)
    survives_json(make, requests)
    answers_nothing_to_nothing(make)
    streams_what_it_generates(make, requests)


def said(completion: Completion) -> tuple[object, ...]:
    """What was answered, apart from what it cost."""
    return completion.text, completion.finish_reason, completion.model, completion.message


def answers_each_in_order(make: Make, requests: Sequence[Request]) -> None:
    together = run_sync(make().generate(requests))
    assert len(together) == len(requests)
    backwards = run_sync(make().generate(list(reversed(requests))))
    assert list(map(said, together)) == list(map(said, reversed(backwards)))


def repeats_itself(make: Make, requests: Sequence[Request]) -> None:
    twice = run_sync(make().generate([*requests, *requests]))
    assert list(map(said, twice[: len(requests)])) == list(map(said, twice[len(requests) :]))


def does_not_look_at_the_batch(make: Make, requests: Sequence[Request]) -> None:
    model = make()
    alone = [run_sync(model.generate([request]))[0] for request in requests]
    together = run_sync(make().generate(requests))
    assert list(map(said, alone)) == list(map(said, together))


def stays_within_its_bound(make: Make, requests: Sequence[Request]) -> None:
    model = make()
    for request, completion in zip(requests, run_sync(model.generate(requests)), strict=True):
        bound = model.bound(request)
        if completion.cached:
            assert completion.usage == Usage()
            continue
        assert completion.usage.calls == 1 == bound.calls
        assert 0 <= completion.usage.prompt_tokens <= bound.prompt_tokens
        assert 0 <= completion.usage.completion_tokens <= bound.completion_tokens
        assert completion.usage.completion_tokens <= request.sampling.max_tokens
        assert completion.usage.seconds >= 0


def says_who_it_is(make: Make, requests: Sequence[Request]) -> None:
    a, b = make(), make()
    assert isinstance(a, Model)
    assert a.name
    assert a.name == b.name
    assert a.identity
    assert a.identity == b.identity
    run_sync(a.generate(requests[:1]))
    assert a.identity == b.identity, "answering must not change who a model is"


def survives_json(make: Make, requests: Sequence[Request]) -> None:
    for completion in run_sync(make().generate(requests)):
        assert Completion.model_validate_json(completion.to_json()) == completion


def answers_nothing_to_nothing(make: Make) -> None:
    assert run_sync(make().generate([])) == []


def streams_what_it_generates(make: Make, requests: Sequence[Request]) -> None:
    model = make()
    if not isinstance(model, Streamer):
        return

    async def pieces(request: Request) -> list[str | Completion]:
        return [piece async for piece in model.stream(request)]

    *texts, whole = run_sync(pieces(requests[0]))
    (generated,) = run_sync(make().generate(requests[:1]))
    assert isinstance(whole, Completion)
    assert said(whole) == said(generated)
    assert "".join(texts) == whole.text


def draws_afresh(make: Make, request: Request, *, draws: int = 24) -> None:
    """Other samples and other seeds are other draws: of a model that has a choice."""
    by_sample = [request.model_copy(update={"sample_index": i}) for i in range(draws)]
    by_seed = [request.model_copy(update={"seed": request.seed + i}) for i in range(draws)]
    for requests in (by_sample, by_seed):
        assert len({other.draw_seed for other in requests}) == draws
        texts = {completion.text for completion in run_sync(make().generate(requests))}
        assert len(texts) > draws // 3


def keeps_the_answers_beside_a_failure(
    make: Make, good: Sequence[Request], bad: Request
) -> ModelError:
    """A request that fails by itself leaves the others answered; return its error."""
    expected = run_sync(make().generate(good))
    batch = [*good[:1], bad, *good[1:]]
    try:
        run_sync(make().generate(batch))
    except ModelError as failure:
        kept = list(failure.completions)
        assert kept.pop(1) is None
        assert [said(c) for c in kept if c is not None] == list(map(said, expected))
        return failure
    raise AssertionError("the bad request was answered")


def scores_what_it_is_given(make: Make, texts: Sequence[tuple[object, str]]) -> None:
    """Log-probabilities: one text at a time or all together, and never above 0."""
    model = make()
    assert isinstance(model, Scorer)
    together = run_sync(model.score(texts))
    for text, values in zip(texts, together, strict=True):
        (alone,) = run_sync(model.score([text]))
        assert values.ndim == 1
        assert values.size > 0
        assert (values <= 0).all()
        assert abs(alone - values).max() < 1e-4
