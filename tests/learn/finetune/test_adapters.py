"""Adapters of all kinds of models: the weights they change, and merging that keeps the answers."""

import logging
import warnings
from types import SimpleNamespace

import pytest
import torch
from benchmarks.tiny_architectures import tiny_config, tiny_model
from peft import PeftModel
from torch import nn

from backtalk.errors import BacktalkError
from backtalk.learn.finetune import TrainingConfig
from backtalk.learn.finetune.adapters import add_adapter, select_weights

LORA = TrainingConfig(adapter="lora", lora_rank=4)
DORA = TrainingConfig(adapter="dora", lora_rank=4)
TOKENS = torch.arange(3, 12)[None]
DENSE = ("llama", "gpt2", "bloom", "falcon", "gpt_neox")
EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "phimoe", "granitemoe", "deepseek_v3")
STATE_SPACE = ("mamba", "mamba2", "falcon_mamba", "jamba", "falcon_h1")


def network(architecture):
    return tiny_model(tiny_config(architecture))


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS, use_cache=False).logits


@pytest.mark.parametrize("architecture", [*DENSE, *EXPERTS, *STATE_SPACE])
def test_the_merged_model_computes_what_the_adapted_one_does(architecture, tmp_path):
    plain = network(architecture)
    before = logits(plain)
    adapted, selected = add_adapter(plain, LORA, seed=0)
    assert torch.allclose(logits(adapted), before, atol=1e-5)  # an adapter starts without effect
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            assert "lora_" in name
            parameter.data += 0.02 * torch.randn_like(parameter)
    after = logits(adapted)
    assert (after - before).abs().max() > 0.01
    adapted(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss.backward()
    without = [
        name
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad and parameter.grad is None and "expert" not in name
    ]
    assert without == []
    adapted.save_pretrained(tmp_path)
    merged = PeftModel.from_pretrained(network(architecture), tmp_path).merge_and_unload().eval()
    assert (logits(merged) - after).abs().max() < 1e-3
    assert all(0 <= share <= 1 for share in selected.shares.values())


@pytest.mark.parametrize("architecture", EXPERTS)
def test_experts_are_adapted_and_routers_are_not(architecture):
    adapted, selected = add_adapter(network(architecture), LORA, seed=0)
    (experts,) = [part for part in selected.shares if part.endswith(".experts")]
    assert selected.shares[experts] == 1
    assert selected.routers
    assert all(selected.shares[part] == 0 for part in selected.routers)
    assert selected.frozen == []
    trained = {n for n, p in adapted.named_parameters() if p.requires_grad}
    assert any(".experts." in name for name in trained)
    assert not any("router" in name or ".gate." in name for name in trained)
    assert f"{experts} 100%" in str(selected)
    assert "0% (router)" in str(selected)


def test_shares_are_those_of_the_weights():
    model = network("llama")
    selected = select_weights(model)
    layers = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert set(selected.layers) == layers - {"lm_head"}
    assert selected.shares == {"self_attn": 1.0, "mlp": 1.0}
    fewer = select_weights(model, without=["model.layers.0.mlp.up_proj"])
    mlp = [m.weight.numel() for n, m in model.named_modules() if ".mlp." in n and "proj" in n]
    left = model.model.layers[0].mlp.up_proj.weight.numel()
    assert fewer.shares["mlp"] == pytest.approx(1 - left / sum(mlp))


def test_weights_that_stay_frozen_are_said(caplog):
    with caplog.at_level(logging.WARNING):
        _, selected = add_adapter(network("mamba"), LORA, seed=0)
    assert selected.frozen == ["mixer"]
    assert "MambaForCausalLM frozen: mixer" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        _, selected = add_adapter(network("qwen2_moe"), DORA, seed=0)
    assert selected.frozen == ["mlp.experts"]
    assert "mlp.experts 0%" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        add_adapter(network("llama"), LORA, seed=0)
    assert caplog.text == ""


def test_the_same_seed_gives_the_same_adapter():
    first, _ = add_adapter(network("mixtral"), LORA, seed=3)
    second, _ = add_adapter(network("mixtral"), LORA, seed=3)
    other, _ = add_adapter(network("mixtral"), LORA, seed=4)
    states = [model.state_dict() for model in (first, second, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_model_without_linear_layers_is_refused():
    class Embeddings(nn.Module):
        config = SimpleNamespace(model_type="embeddings")

        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(8, 4)

        def get_input_embeddings(self):
            return self.tokens

        def get_output_embeddings(self):
            return None

    with pytest.raises(BacktalkError, match="Embeddings has no linear layer"):
        add_adapter(Embeddings(), LORA, seed=0)


def test_no_warning_of_peft_is_shown():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        add_adapter(network("llama"), LORA, seed=0)
