"""Every kind of model answers with the log-probabilities of its own forward pass, or is refused."""

import pytest
import torch
from benchmarks.tiny_architectures import tiny_config, tiny_model
from transformers import BertConfig, LlamaForCausalLM

from backtalk.models import LocalModel, Sampling, UnsupportedModel
from backtalk.models.local.decoding import choose_decoding
from backtalk.models.local.engine import Engine, _use_decode_attention
from backtalk.models.local.mixture_engine import MixtureEngine
from backtalk.models.local.sampler import SequenceState
from tests.models import tiny

PADDED = "with a cache"
UNPADDED = "with a cache, without padding"
RECURRENT = "with a recurrent state"
WAYS = {
    "llama": PADDED,
    "deepseek_v3": PADDED,  # values narrower than keys
    "jamba": PADDED,
    "falcon_h1": PADDED,
    "mamba2": PADDED,
    "mamba": RECURRENT,
    "falcon_mamba": RECURRENT,
    "bart": UNPADDED,  # positions from the cache's length
    "roberta": UNPADDED,  # positions that do not begin at 0
    "xlstm": "with the model's own cache, without padding",
    "rwkv": "with the model's own cache, one row at a time",
    "recurrent_gemma": "without a cache",
    "openai-gpt": "without a cache",
}
PROMPTS = [(5, 6, 7), (9, 30, 31, 32, 33, 34, 35, 36, 37), (40, 41), (50, 51, 52, 53), (9, 8, 60)]


def network(architecture):
    model = tiny_model(tiny_config(architecture))
    _use_decode_attention(model)
    return model


def engine(model):
    return Engine(model, tiny.tokenizer(), identity="tiny")


@torch.no_grad()
def plain_log_probabilities(model, tokens):
    """Return the log-probabilities after each token, by one forward pass of one row."""
    return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0].log_softmax(-1)


def greedy(model, prompt, count):
    """Return tokens and the sum of their log-probabilities; everything is computed at each step."""
    tokens, total = list(prompt), 0.0
    for _ in range(count):
        last = plain_log_probabilities(model, tokens)[-1]
        tokens.append(int(last.argmax()))
        total += float(last.max())
        if tokens[-1] == 1:
            break
    return tokens[len(prompt) :], total


def sample(answering, prompts, *, batch_tokens, temperature=0.0):
    sequences = [
        SequenceState(prompt, Sampling(max_tokens=6, temperature=temperature), 4 + i % 3, seed=i)
        for i, prompt in enumerate(prompts)
    ]
    answering.sample(
        sequences,
        batch_tokens=batch_tokens,
        contains_stop=lambda _: False,
        cancelled=lambda: False,
    )
    return sequences


@pytest.mark.parametrize("architecture", WAYS)
def test_answers_and_scores_are_those_of_plain_forward_passes(architecture):
    model = network(architecture)
    answering = engine(model)
    assert answering.decoding.name == WAYS[architecture]
    # Repeated prompts, and so few places that sequences are added while others go on.
    sequences = sample(answering, [*PROMPTS, PROMPTS[1], PROMPTS[1]], batch_tokens=45)
    for sequence in sequences:
        tokens, total = greedy(model, sequence.prompt, sequence.max_new_tokens)
        assert sequence.tokens == tokens
        assert sequence.log_probability == pytest.approx(total, abs=1e-3)
    pairs = [(prompt, (7, 8, 9)[: 1 + i % 3]) for i, prompt in enumerate(PROMPTS)]
    for (prompt, answer), values in zip(
        pairs, answering.log_probabilities(pairs, batch_tokens=64), strict=True
    ):
        logs = plain_log_probabilities(model, [*prompt, *answer])[len(prompt) - 1 : -1]
        expected = logs[range(len(answer)), list(answer)]
        torch.testing.assert_close(torch.tensor(values).float(), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("architecture", ["mamba", "rwkv", "openai-gpt"])
def test_samples_do_not_depend_on_the_batch(architecture):
    answering = engine(network(architecture))
    together = sample(answering, PROMPTS, batch_tokens=1000, temperature=1.0)
    small = sample(answering, PROMPTS, batch_tokens=20, temperature=1.0)
    assert [s.tokens for s in together] == [s.tokens for s in small]


def test_a_mixture_of_models_that_decode_in_different_ways():
    models = [network("llama"), network("bart")]
    mixture = MixtureEngine([engine(model) for model in models], [0.5, 0.5], name="both")
    assert mixture.decoding.name == f"{PADDED}, {UNPADDED}"
    for sequence in sample(mixture, PROMPTS, batch_tokens=45):
        tokens = list(sequence.prompt)
        for token in sequence.tokens:
            mixed = sum(plain_log_probabilities(model, tokens)[-1] for model in models) / 2
            assert token == int(mixed.argmax())
            tokens.append(token)


class WithoutMask(LlamaForCausalLM):
    """Ignores padding, as models do that do not know it."""

    def forward(self, input_ids, attention_mask=None, position_ids=None, **others):
        return super().forward(input_ids, **others)


class Forgetful(LlamaForCausalLM):
    """Ignores what it was given of earlier tokens."""

    def forward(self, input_ids, past_key_values=None, **others):
        return super().forward(input_ids, **others)


class LookingAhead(LlamaForCausalLM):
    """Adds the number of tokens to the logits of one token."""

    def forward(self, input_ids, **others):
        output = super().forward(input_ids, **others)
        output.logits[..., 5] += input_ids.shape[1]
        return output


@pytest.mark.parametrize(
    ("kind", "way"), [(WithoutMask, UNPADDED), (Forgetful, "without a cache"), (None, PADDED)]
)
def test_the_way_is_decided_by_a_trial(kind, way, caplog):
    model = tiny.network("llama")
    model.__class__ = kind or LlamaForCausalLM
    assert choose_decoding(model).name == way
    assert (way in caplog.text) == (kind is not None)


def test_dropout_does_not_disturb_the_trial():
    model = tiny.network("gpt2").train()
    assert choose_decoding(model).name == PADDED
    assert model.training


def test_models_that_are_not_causal_are_refused_before_the_first_token(tmp_path):
    model = tiny.network("llama")
    model.__class__ = LookingAhead
    with pytest.raises(UnsupportedModel, match=r"LookingAhead.* depend on later tokens"):
        choose_decoding(model)
    tiny_model(tiny_config("bert", is_decoder=False)).save_pretrained(tmp_path)
    assert BertConfig.from_pretrained(tmp_path).is_decoder is False
    tiny.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModel, match="is_decoder"):
        _ = LocalModel(str(tmp_path)).decoding


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_of_short_formats_is_no_difference(dtype):
    assert choose_decoding(tiny.network("llama").to(dtype)).name == PADDED
    model = tiny.network("llama").to(dtype)
    model.__class__ = Forgetful
    assert choose_decoding(model).name == "without a cache"


def test_rwkv_is_saved_with_the_weights_that_were_loaded(tmp_path):
    config = tiny_config("rwkv", rescale_every=1)
    before = tiny_model(config)
    before.train().save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    local = LocalModel(str(tmp_path))
    assert local.decoding.endswith("one row at a time")
    for name, weight in local.engine.model.named_parameters():
        torch.testing.assert_close(weight, before.get_parameter(name))
