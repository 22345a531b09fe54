"""Linear layers with an adapter as one operation, against peft's own forward and autograd."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import nn

from backtalk.artifacts import Artifacts
from backtalk.learn.finetune import PromptTree, ResponseTokens, TrainingConfig
from backtalk.learn.finetune.lora_linear import fuse_lora_layers
from backtalk.learn.finetune.trainable_model import load_trainable_model
from backtalk.models import LocalSpec
from backtalk.policy import Policy
from tests.models import tiny


class TwoLayers(nn.Module):
    """Two linear layers, the second without a bias."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(12, 20)
        self.second = nn.Linear(20, 7, bias=False)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def adapted(seed=0, **options):
    """Return a model with an adapter whose matrices are all different from 0."""
    torch.manual_seed(seed)
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["first", "second"], **options)
    model = get_peft_model(TwoLayers(), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    return model


def outputs_and_gradients(model, x, weights):
    x = x.clone().requires_grad_()
    model.zero_grad()
    result = model(x)
    (result.float() * weights).sum().backward()
    gradients = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    return {"output": result, "x": x.grad, **gradients}


def both(shape, model=None, autocast=False):
    """Return the outputs and gradients of peft and of the fused layers."""
    model = model or adapted()
    fused = copy.deepcopy(model)
    assert fuse_lora_layers(fused) == 2
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(*shape, 12, generator=generator)
    weights = torch.randn(*shape, 7, generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        return [outputs_and_gradients(item, x, weights) for item in (model, fused)]


@pytest.mark.parametrize("shape", [(5,), (2, 4), (1, 3, 6), (1,)])
def test_the_fused_layers_equal_those_of_peft(shape):
    theirs, ours = both(shape)
    assert theirs.keys() == ours.keys()
    assert len(ours) == 6
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, rtol=1e-5, atol=1e-6, msg=name)


def test_in_bfloat16_the_fused_layers_are_as_close_to_float32_as_those_of_peft():
    exact, _ = both((3, 16))
    theirs, ours = both((3, 16), autocast=True)
    for name, expected in exact.items():
        assert ours[name].dtype == theirs[name].dtype, name
        error, peft_error = (
            ((result[name].float() - expected).norm() / expected.norm()).item()
            for result in (ours, theirs)
        )
        assert error < max(1.5 * peft_error, 1e-6), name
        assert error < 0.02, name


def test_weights_rounded_once_give_the_same_product_in_bfloat16():
    model = adapted()
    fuse_lora_layers(model)
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, Linear):
            module.base_layer.weight.data = module.base_layer.weight.data.to(torch.bfloat16)
    x, weights = torch.randn(4, 12), torch.randn(4, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first, second = (outputs_and_gradients(item, x, weights) for item in (model, rounded))
    for name, expected in first.items():
        torch.testing.assert_close(second[name], expected, rtol=0, atol=0, msg=name)


def test_an_adapter_that_is_switched_off_or_merged_is_left_to_peft():
    model = adapted()
    fused = copy.deepcopy(model)
    fuse_lora_layers(fused)
    x = torch.randn(4, 12)
    with torch.no_grad():
        with model.disable_adapter(), fused.disable_adapter():
            torch.testing.assert_close(fused(x), model(x), rtol=0, atol=0)
        merged = fused(x)
        fused.merge_adapter()
        torch.testing.assert_close(fused(x), merged, rtol=1e-5, atol=1e-6)
        fused.unmerge_adapter()
        torch.testing.assert_close(fused(x), merged, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"lora_dropout": 0.1}, {"use_dora": True}, {"bias": "lora_only"}, {"lora_bias": True}],
)
def test_other_adapters_are_left_to_peft(options):
    model = adapted(**options)
    fused = fuse_lora_layers(model)
    assert fused == (1 if "bias" in options else 0)  # the second layer has no bias to train


def test_a_copy_of_a_fused_model_has_layers_of_its_own():
    model = adapted()
    fuse_lora_layers(model)
    x = torch.randn(3, 12)
    before = model(x)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert copied(x).abs().max() == 0
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)


def test_gradients_flow_through_a_layer_whose_input_needs_none():
    model = adapted()
    fuse_lora_layers(model)
    model(torch.randn(3, 12)).sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert len(trained) == 4
    assert all(parameter.grad is not None for parameter in trained)


@pytest.mark.parametrize("shape", [(5,), (2, 4)])
def test_outputs_may_be_changed_in_place(shape):
    # Gemma 3n scales what its linear layers return in place.
    model = adapted()
    fuse_lora_layers(model)
    layer, x = model.base_model.model.first, torch.randn(*shape, 12)
    plain = layer(x).mul(0.5)
    changed = layer(x).mul_(0.5)
    torch.testing.assert_close(changed, plain, rtol=0, atol=0)
    for result in (plain, changed):
        layer.zero_grad()
        result.sum().backward()
        gradients = [p.grad.clone() for p in layer.parameters() if p.requires_grad]
        if result is plain:
            expected = gradients
    torch.testing.assert_close(gradients, expected, rtol=0, atol=0)


@pytest.mark.parametrize("adapter", ["lora", "dora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_rounding_frozen_weights_changes_no_log_probability(architecture, adapter, tmp_path):
    policy = Policy(model=LocalSpec(model=tiny.save(tmp_path / "model", architecture)))
    config = TrainingConfig(adapter=adapter, dtype="bfloat16", lora_rank=4)
    model = load_trainable_model(policy, Artifacts(tmp_path / "artifacts"), config, seed=0)
    torch.manual_seed(1)
    for name, parameter in model.logprob_model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    tree = PromptTree((5, 6, 7), (ResponseTokens((8, 9, 1)), ResponseTokens((10, 1))))

    def scores():
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            return model.logprob_model.score([tree]).values

    before = scores()
    model.round_frozen_weights(policy.model, config)
    torch.testing.assert_close(scores(), before, rtol=0, atol=0)
    rounded = [p for p in model.logprob_model.parameters() if p.dtype == torch.bfloat16]
    assert bool(rounded) == (adapter == "lora" and architecture == "llama")
