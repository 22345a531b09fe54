"""Log-probabilities of trees equal those of the model on separate rows."""

import numpy as np
import pytest
import torch
from benchmarks.tiny_architectures import tiny_config, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from backtalk.learn.finetune import PromptTree, ResponseTokens
from backtalk.learn.finetune.heads import linear_log_probs
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.packing import TreeSpan, pack, pad
from backtalk.learn.finetune.tree_attention import segment_index
from backtalk.models import UnsupportedModel
from tests.learn.finetune.small import VOCABULARY, model, trees

SHARING = ["llama", "qwen2", "gpt2"]
FLAT = ["mistral", "mamba"]
HEADS = {
    "bert": "a linear layer",
    "doge": "a linear layer",  # with a mask of its own, whose weights begin at zero
    "cohere": "a linear layer times 0.5",
    "falcon_h1": "a linear layer times 0.3",
    "gemma2": "a linear layer with softcap 30",
    "gptj": "a linear layer",  # with a bias
    "granite": "a linear layer times 0.333333",
    "hyperclovax": "a linear layer times 0.4",
    "llama4_text": "a linear layer",
    "modernbert-decoder": "a linear layer",
    "recurrent_gemma": "a linear layer with softcap 30",
}


def separate_rows(network, forest):
    """Return log-probabilities of transformers, one response at a time, from all logits."""
    results = []
    for tree in forest:
        for branch in tree.responses:
            ids = torch.tensor([[*tree.prompt, *branch.tokens]])
            logs = network(input_ids=ids).logits.float().log_softmax(-1)[0]
            begin = len(tree.prompt) - 1
            results += [logs[begin + i, token] for i, token in enumerate(branch.tokens)]
    return torch.stack(results)


@pytest.mark.parametrize("architecture", SHARING + FLAT)
def test_values_and_gradients_are_those_of_plain_rows(architecture):
    network = model(architecture)
    logprob_model = LogProbModel(network)
    assert logprob_model.shares_prompts == (architecture in SHARING)
    check_values_and_gradients(network, logprob_model)


def check_values_and_gradients(network, logprob_model):
    forest = [*trees(3, responses=3), *trees(2, seed=1, responses=1, paired=False)]
    result, expected = logprob_model.score(forest).values, separate_rows(network, forest)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    grad_output = torch.randn(len(result), generator=torch.Generator().manual_seed(0))

    def gradients(values):
        network.zero_grad()
        (values * grad_output).sum().backward()
        return [p.grad.clone() for p in network.parameters() if p.grad is not None]

    for mine, plain in zip(gradients(result), gradients(expected), strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", HEADS)
def test_the_head_is_the_one_of_the_model(architecture):
    network = tiny_model(tiny_config(architecture))
    logprob_model = LogProbModel(network)
    assert logprob_model.output_layer.description == HEADS[architecture]
    assert logprob_model.output_layer.kind == "linear"
    check_values_and_gradients(network, logprob_model)


class Suppressing(LlamaForCausalLM):
    """Never writes one token, as Chameleon does with tokens of images."""

    def forward(self, input_ids, **others):
        output = super().forward(input_ids, **others)
        output.logits = output.logits.index_fill(-1, torch.tensor([VOCABULARY - 1]), -1e4)
        return output


class Squared(LlamaForCausalLM):
    """Is the linear head of Llama for small logits, and not for large ones."""

    def forward(self, input_ids, **others):
        output = super().forward(input_ids, **others)
        output.logits = output.logits + 0.1 * output.logits * output.logits.abs()
        return output


class HeadOfTwoLayers(LlamaForCausalLM):
    """Has no linear layer at its end."""

    def get_output_embeddings(self):
        return torch.nn.Sequential(self.lm_head, torch.nn.Tanh())

    def forward(self, input_ids, **others):
        output = super().forward(input_ids, **others)
        output.logits = output.logits.tanh()
        return output


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("kind", [Suppressing, Squared, HeadOfTwoLayers])
def test_a_head_of_another_kind_is_computed_by_the_model(monkeypatch, kind, recomputed):
    if recomputed:
        monkeypatch.setattr("backtalk.learn.finetune.heads._CHUNK_LOGITS", 5 * VOCABULARY)
        monkeypatch.setattr("backtalk.learn.finetune.heads._MAX_SAVED_LOGITS", 0)
    network = model()
    network.__class__ = kind
    logprob_model = LogProbModel(network)
    assert logprob_model.output_layer.description == "the model's own head"
    expected = "logits" if kind is HeadOfTwoLayers else "own"
    assert logprob_model.output_layer.kind == expected
    check_values_and_gradients(network, logprob_model)
    forest = trees(2, responses=2)
    best = logprob_model.score(forest, top_k=2)
    logits = [
        network(input_ids=torch.tensor([[*tree.prompt, *branch.tokens]])).logits[0]
        for tree in forest
        for branch in tree.responses
    ]
    first = logits[0].float().log_softmax(-1)[len(forest[0].prompt) - 1]
    first = first[torch.arange(VOCABULARY) != forest[0].responses[0].tokens[0]]
    torch.testing.assert_close(best.top_k[0], first.topk(2).values, atol=1e-5, rtol=1e-5)


def test_models_that_are_not_causal_are_refused():
    with pytest.raises(UnsupportedModel, match="cannot be trained"):
        LogProbModel(tiny_model(tiny_config("xlnet")))


@pytest.mark.parametrize("architecture", SHARING)
def test_a_response_sees_no_other_and_no_other_tree(architecture):
    network = model(architecture)
    logprob_model = LogProbModel(network)
    one, two = trees(2, responses=2)
    changed = two.with_responses([two.responses[0], ResponseTokens((5, 6, 7))])
    length = len(two.responses[0].tokens)
    before = logprob_model.score([one, two]).values
    after = logprob_model.score([one, changed]).values
    unchanged = sum(len(b.tokens) for b in one.responses) + length
    torch.testing.assert_close(before[:unchanged], after[:unchanged], atol=1e-6, rtol=1e-6)


def test_packing_without_boundaries_gives_other_values():
    """Negative control: the same row as a single text gives other values."""
    logprob_model = LogProbModel(model())
    forest = trees(3, responses=1, paired=False)
    packed = pack(forest)
    together = packed.__class__(
        packed.tokens, packed.positions, packed.logit_positions, packed.targets,
        (TreeSpan(packed.tokens.shape[1], (0,)),),
    )  # fmt: skip
    away = (logprob_model(packed).values - logprob_model(together).values).abs().max()
    assert away > 1e-2


def test_models_that_cannot_share_prompts_would_go_wrong_if_they_did():
    network = model("mistral")
    forest = [
        PromptTree(tuple(range(2, 30)), (ResponseTokens((3, 4, 5, 1)), ResponseTokens((7, 1))))
    ]
    shared = LogProbModel(network, share=True).score(forest).values
    network.set_attn_implementation("sdpa")
    assert (shared - separate_rows(network, forest)).abs().max() > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=3))))
def test_the_block_mask_and_the_masks_of_spans_agree(shapes):
    spans = [TreeSpan(prompt, tuple(responses)) for prompt, responses in shapes]
    if not spans:
        return
    segment, prompt_segment = segment_index(spans)
    positions = torch.arange(len(segment))
    visible = (positions[None, :] <= positions[:, None]) & (
        (segment[None, :] == segment[:, None]) | (segment[None, :] == prompt_segment[:, None])
    )
    start = 0
    for span in spans:
        end = start + span.prompt + span.response_tokens
        rows = visible[start:end]
        assert not rows[:, :start].any()
        assert not rows[:, end:].any()
        mask = span.mask(torch.float32, torch.device("cpu"))
        assert torch.equal(rows[span.prompt :, start:end], mask == 0)
        start = end


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.5, None), (1.0, 3.0), (2.0, 5.0)])
@pytest.mark.parametrize("top_k", [0, 2])
def test_gradients_of_the_head_equal_autograd(monkeypatch, chunked, scale, softcap, top_k):
    if chunked:
        monkeypatch.setattr("backtalk.learn.finetune.heads._CHUNK_LOGITS", 32)
        monkeypatch.setattr("backtalk.learn.finetune.heads._MAX_SAVED_LOGITS", 0)
    rng = torch.Generator().manual_seed(0)
    hidden = torch.randn((7, 5), generator=rng, requires_grad=True)
    weight = torch.randn((11, 5), generator=rng, requires_grad=True)
    bias = torch.randn(11, generator=rng, requires_grad=True)
    targets = torch.randint(0, 11, (7,), generator=rng)
    result = linear_log_probs(
        hidden, weight, bias, targets, scale=scale, softcap=softcap, top_k=top_k
    )
    logits = (hidden @ weight.t() + bias) * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    logs = logits.log_softmax(-1)
    places = targets[:, None]
    if top_k:
        best = logits.scatter(1, places, -torch.inf).topk(top_k).indices
        places = torch.cat([places, best], dim=1)
    expected = logs.gather(1, places)
    torch.testing.assert_close(result, expected)
    grad_output = torch.randn(result.shape, generator=rng)
    mine = torch.autograd.grad(
        (result * grad_output).sum(), [hidden, weight, bias], retain_graph=True
    )
    again = torch.autograd.grad((result * grad_output).sum(), [hidden, weight, bias])
    theirs = torch.autograd.grad((expected * grad_output).sum(), [hidden, weight, bias])
    for one, other, repeated in zip(mine, theirs, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(one, repeated)


def test_sums_are_in_float32_where_products_are_not():
    logprob_model = LogProbModel(model())
    forest = trees(4)
    exact = logprob_model.score(forest).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = logprob_model.score(forest).values
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.5


def test_padded_rows_hold_what_packed_rows_hold():
    forest = trees(5, responses=3)
    packed, padded = pack(forest), pad(forest)
    assert torch.equal(packed.targets, padded.targets)
    assert packed.tokens.numel() == sum(tree.size for tree in forest)
    assert len(padded.tokens) == sum(len(tree.responses) for tree in forest)
    # The token before each response token is the same in both layouts.
    before = packed.tokens.flatten()[packed.logit_positions]
    assert torch.equal(before, padded.tokens.flatten()[padded.logit_positions])
    assert np.isclose(int(padded.padding.sum()), sum(
        len(tree.prompt) + len(branch.tokens) - 1 for tree in forest for branch in tree.responses
    ))  # fmt: skip
