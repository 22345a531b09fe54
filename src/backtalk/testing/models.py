"""Properties of models.

Each check takes a function that makes a new model, so that no state is carried over from one check
to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backtalk.feedback import as_prompt
from backtalk.models import (
    Completion,
    Model,
    ModelError,
    PromptResponse,
    Request,
    Scorer,
    Streamer,
    Usage,
)
from backtalk.models.run_sync import run_sync

MakeModel = Callable[[], Model]


def check_model(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check all properties of a model whose completions depend on the request alone.

    Parameters
    ----------
    make : Callable[[], Model]
        Makes the model.
    requests : sequence of Request
        Requests that differ in prompt, sample index and seed.
    """
    check_order(make, requests)
    check_determinism(make, requests)
    check_batch_independence(make, requests)
    check_bound(make, requests)
    check_identity(make, requests)
    check_json(make, requests)
    check_empty_batch(make)
    check_stream(make, requests)


def _contents(completions: Sequence[Completion]) -> list[tuple[object, ...]]:
    """Return all fields of completions except for their cost."""
    return [(c.text, c.finish_reason, c.model, c.message) for c in completions]


def check_order(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check that there is one completion per request, in order."""
    completions = run_sync(make().generate(requests))
    assert len(completions) == len(requests)
    reverse = run_sync(make().generate(list(reversed(requests))))
    assert _contents(completions) == _contents(list(reversed(reverse)))


def check_determinism(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check that equal requests have equal completions."""
    completions = run_sync(make().generate([*requests, *requests]))
    count = len(requests)
    assert _contents(completions[:count]) == _contents(completions[count:])


def check_batch_independence(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check that a completion does not depend on the other requests of a batch."""
    model = make()
    single = [run_sync(model.generate([request]))[0] for request in requests]
    batch = run_sync(make().generate(requests))
    assert _contents(single) == _contents(batch)


def check_bound(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check that no usage exceeds the bound."""
    model = make()
    for request, completion in zip(requests, run_sync(model.generate(requests)), strict=True):
        bound = model.bound(request)
        if completion.cached:
            assert completion.usage == Usage()
            continue
        assert completion.usage.calls == 1 == bound.calls
        assert 0 <= completion.usage.prompt_tokens <= bound.prompt_tokens
        assert 0 <= completion.usage.completion_tokens <= bound.completion_tokens
        assert completion.usage.completion_tokens <= request.sampling.local_max_tokens
        assert completion.usage.seconds >= 0


def check_identity(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check that name and identity are constant."""
    a, b = make(), make()
    assert isinstance(a, Model)
    assert a.name
    assert a.name == b.name
    assert a.identity
    assert a.identity == b.identity
    run_sync(a.generate(requests[:1]))
    assert a.identity == b.identity, "answering must not change the identity of a model"


def check_json(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check that completions survive JSON."""
    for completion in run_sync(make().generate(requests)):
        assert Completion.model_validate_json(completion.to_json()) == completion


def check_empty_batch(make: MakeModel) -> None:
    """Check that an empty batch has no completions."""
    assert run_sync(make().generate([])) == []


def check_stream(make: MakeModel, requests: Sequence[Request]) -> None:
    """Check that a streamed completion equals the generated one, if the model streams."""
    model = make()
    if not isinstance(model, Streamer):
        return

    async def collect(request: Request) -> list[str | Completion]:
        return [piece async for piece in model.stream(request)]

    *texts, streamed = run_sync(collect(requests[0]))
    generated = run_sync(make().generate(requests[:1]))
    assert isinstance(streamed, Completion)
    assert _contents([streamed]) == _contents(generated)
    assert "".join(map(str, texts)) == streamed.text


def check_independent_samples(make: MakeModel, request: Request, *, count: int = 24) -> None:
    """Check that other sample indices and other seeds give other samples.

    Parameters
    ----------
    make : Callable[[], Model]
        Makes a model that answers at random.
    request : Request
        Request to repeat.
    count : int, default 24
        Number of samples.
    """
    by_index = [request.model_copy(update={"sample_index": i}) for i in range(count)]
    by_seed = [request.model_copy(update={"seed": request.seed + i}) for i in range(count)]
    for requests in (by_index, by_seed):
        assert len({request.draw_seed for request in requests}) == count
        texts = {completion.text for completion in run_sync(make().generate(requests))}
        assert len(texts) > count // 3


def check_partial_failure(make: MakeModel, good: Sequence[Request], bad: Request) -> ModelError:
    """Check that a request that fails by itself leaves the others answered; return its error.

    Parameters
    ----------
    make : Callable[[], Model]
        Makes the model.
    good : sequence of Request
        Requests that the model answers.
    bad : Request
        Request that the model rejects.

    Raises
    ------
    AssertionError
        If the bad request is answered, or a good one is not.
    """
    expected = run_sync(make().generate(good))
    batch = [*good[:1], bad, *good[1:]]
    try:
        run_sync(make().generate(batch))
    except ModelError as failure:
        completions = list(failure.completions)
        assert completions.pop(1) is None
        answers = [completion for completion in completions if completion is not None]
        assert _contents(answers) == _contents(expected)
        return failure
    raise AssertionError("the bad request was answered")


def check_scores(make: MakeModel, texts: Sequence[PromptResponse]) -> None:
    """Check that log-probabilities are at most 0 and do not depend on the batch."""
    model = make()
    assert isinstance(model, Scorer)
    batch = run_sync(model.score(texts))
    for text, values in zip(texts, batch, strict=True):
        (single,) = run_sync(model.score([text]))
        assert values.ndim == 1
        assert values.size > 0
        assert (values <= 0).all()
        assert abs(single - values).max() < 1e-4


class ModelLaws:
    """Tests of a model whose completions depend on the request alone: subclass it in a test module.

    A subclass implements :meth:`model`, and overrides :meth:`requests` if the model does not answer
    arbitrary prompts.
    """

    def model(self) -> Model:
        """Return a new model."""
        raise NotImplementedError

    def requests(self) -> list[Request]:
        """Return requests that differ in prompt, sample index and seed."""
        return [
            Request(
                messages=as_prompt(f"Is it open on day {i % 4}?"), sample_index=i % 3, seed=i % 2
            )
            for i in range(12)
        ]

    def test_completions_are_in_order(self) -> None:
        """Check the order of the completions."""
        check_order(self.model, self.requests())

    def test_equal_requests_have_equal_completions(self) -> None:
        """Check the determinism of the model."""
        check_determinism(self.model, self.requests())

    def test_completions_do_not_depend_on_the_batch(self) -> None:
        """Check the independence of the batch."""
        check_batch_independence(self.model, self.requests())

    def test_usage_is_within_the_bound(self) -> None:
        """Check the bound of the usage."""
        check_bound(self.model, self.requests())

    def test_identity_is_constant(self) -> None:
        """Check name and identity."""
        check_identity(self.model, self.requests())

    def test_completions_survive_json(self) -> None:
        """Check the JSON of completions."""
        check_json(self.model, self.requests())

    def test_an_empty_batch_has_no_completions(self) -> None:
        """Check an empty batch."""
        check_empty_batch(self.model)

    def test_a_stream_equals_the_completion(self) -> None:
        """Check streaming, if the model streams."""
        check_stream(self.model, self.requests())
