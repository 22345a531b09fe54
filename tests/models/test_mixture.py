"""Mixtures of local models, compared with products of powers computed by brute force."""

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import AutoModelForCausalLM

from backtalk.errors import BacktalkError
from backtalk.feedback import as_prompt
from backtalk.models import (
    BadRequest,
    LocalModel,
    LocalSpec,
    Mixture,
    MixtureSpec,
    NamedSpec,
    Request,
    Sampling,
    load_model,
    register_model,
)
from backtalk.models.fakes import FunctionModel
from backtalk.models.run_sync import run_sync
from backtalk.testing import models as laws
from tests.models import tiny

PROMPTS = ["Is the shop open today?", "How?", "Thank you for your letter, we are sorry."]
WEIGHTS = [(0.875, 0.125), (1.5, -0.5), (0.5, 0.5)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two models with the same tokenizer and different weights."""
    folders = [tiny.save(tmp_path_factory.mktemp("models") / name) for name in ("one", "other")]
    changed = AutoModelForCausalLM.from_pretrained(folders[1])
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.3 * parameter.std() * torch.randn_like(parameter))
    changed.save_pretrained(folders[1])
    return folders


def make_mixture(pair, weights):
    return Mixture([LocalModel(folder) for folder in pair], weights)


def make_request(prompt, **fields):
    sampling = Sampling(**{"max_tokens": 12, **fields.pop("sampling", {})})
    return Request(messages=as_prompt(prompt), sampling=sampling, **fields)


def expected_log_probs(pair, weights, tokens):
    """Log-probabilities of the next token after each of these, shape ``(n, vocabulary)``."""
    total = 0
    with torch.inference_mode():
        for folder, weight in zip(pair, weights, strict=True):
            logits = AutoModelForCausalLM.from_pretrained(folder).eval()(tokens[None]).logits[0]
            total = total + weight * logits.double().log_softmax(-1)
    return total.log_softmax(-1)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_log_probability_of_a_sample_is_that_of_the_product_of_powers(pair, weights):
    model = make_mixture(pair, weights)
    sequences = [
        model._sequence(make_request(prompt, sample_index=i))
        for prompt in PROMPTS
        for i in range(3)
    ]
    model.engine.sample(
        sequences, batch_tokens=4096, contains_stop=lambda _: False, cancelled=lambda: False
    )
    for sequence in sequences:
        tokens = torch.tensor([*sequence.prompt, *sequence.tokens])
        log_probs = expected_log_probs(pair, weights, tokens)[len(sequence.prompt) - 1 : -1]
        each = log_probs[range(len(sequence.tokens)), sequence.tokens]
        assert sequence.log_probability == pytest.approx(each.sum().item(), abs=1e-3)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_first_tokens_have_the_frequencies_of_the_product_of_powers(pair, weights):
    model = make_mixture(pair, weights)
    requests = [
        make_request(PROMPTS[0], sample_index=i, sampling={"max_tokens": 1}) for i in range(600)
    ]
    sequences = [model._sequence(request) for request in requests]
    model.engine.sample(
        sequences, batch_tokens=16384, contains_stop=lambda _: False, cancelled=lambda: False
    )
    probabilities = (
        expected_log_probs(pair, weights, torch.tensor(sequences[0].prompt))[-1].exp().numpy()
    )
    counts = np.bincount(
        [sequence.tokens[0] for sequence in sequences], minlength=len(probabilities)
    )
    often = probabilities * len(sequences) >= 5
    observed, expected = (
        [*counts[often], counts[~often].sum()],
        [*probabilities[often], probabilities[~often].sum()],
    )
    result = stats.chisquare(observed, np.array(expected) / sum(expected) * len(sequences))
    assert result.pvalue > 1e-4


def test_the_most_probable_token_is_that_of_the_mixture(pair):
    weights = (0.5, 0.5)
    model = make_mixture(pair, weights)
    sequence = model._sequence(make_request(PROMPTS[1], sampling={"temperature": 0}))
    model.engine.sample(
        [sequence], batch_tokens=4096, contains_stop=lambda _: False, cancelled=lambda: False
    )
    log_probs = expected_log_probs(
        pair, weights, torch.tensor([*sequence.prompt, *sequence.tokens])
    )
    assert sequence.tokens == log_probs[len(sequence.prompt) - 1 : -1].argmax(-1).tolist()


def test_a_score_is_the_mixtures(pair):
    model = make_mixture(pair, WEIGHTS[0])
    (values,) = run_sync(model.score([(as_prompt(PROMPTS[0]), "Yes, we open.")]))
    prompt, rest = model.chat.conversation_tokens(as_prompt(PROMPTS[0]), "Yes, we open.")
    log_probs = expected_log_probs(pair, WEIGHTS[0], torch.tensor([*prompt, *rest]))[
        len(prompt) - 1 : -1
    ]
    np.testing.assert_allclose(values, log_probs[range(len(rest)), rest].numpy(), atol=1e-3)


def test_every_law_of_models_holds(pair):
    requests = [make_request(prompt, sample_index=i) for i, prompt in enumerate(PROMPTS * 2)]
    laws.check_model(lambda: make_mixture(pair, WEIGHTS[0]), requests)
    assert make_mixture(pair, WEIGHTS[0]).identity != make_mixture(pair, WEIGHTS[1]).identity


def test_a_weight_of_one_is_the_model_itself(pair):
    requests = [make_request(prompt, sample_index=i) for prompt in PROMPTS for i in range(3)]
    single = run_sync(LocalModel(pair[0]).generate(requests))
    mixture = run_sync(make_mixture(pair, (1.0, 0.0)).generate(requests))
    assert [c.text for c in mixture] == [c.text for c in single]


def test_a_token_that_a_model_excludes_is_not_sampled():
    from backtalk.models.local.mixture_engine import _MixtureState

    class FixedLogits:
        def __init__(self, *logits):
            self.values = torch.tensor([logits])

        def step(self, _):
            return self.values

    never = float("-inf")
    state = _MixtureState([FixedLogits(0.0, never, 1.0), FixedLogits(never, 0.0, 1.0)], (1.5, -0.5))
    assert state.step(torch.zeros(1, 1)).isneginf().tolist() == [[True, True, False]]


def test_models_that_cannot_be_mixed_are_rejected(pair, tmp_path):
    with pytest.raises(BacktalkError, match="sum to 1"):
        make_mixture(pair, (0.5, 0.4))
    other = tiny.save(tmp_path / "words")
    words = tiny.tokenizer()
    words.add_tokens(["shop"])
    words.save_pretrained(other)
    with pytest.raises(BacktalkError, match="same tokenizer"):
        run_sync(make_mixture((pair[0], other), (0.5, 0.5)).generate([make_request("How?")]))
    plain = LocalModel(pair[1], chat_template="plain")
    with pytest.raises(BadRequest, match="write the prompt differently"):
        run_sync(Mixture([LocalModel(pair[0]), plain], (0.5, 0.5)).generate([make_request("How?")]))
    with pytest.raises(BacktalkError, match="no weights of its own"):
        make_mixture(pair, (0.5, 0.5)).load_trainable_engine()


@register_model("says-yes")
def says_yes():
    return FunctionModel(lambda request: "Yes.", name="yes")


def test_a_spec_loads_its_mixture(pair):
    spec = MixtureSpec(models=tuple(LocalSpec(model=f) for f in pair), weights=(0.875, 0.125))
    assert spec == MixtureSpec.model_validate_json(spec.model_dump_json())
    assert load_model(spec).identity == make_mixture(pair, (0.875, 0.125)).identity
    with pytest.raises(ValueError, match="sum to 1"):
        MixtureSpec(models=spec.models, weights=(0.5, 0.1))
    with pytest.raises(BacktalkError, match="Mix local models"):
        load_model(
            MixtureSpec(models=(spec.models[0], NamedSpec(name="says-yes")), weights=(2, -1))
        )
