"""Attention of one token per sequence equals that of PyTorch; small models use one thread."""

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from backtalk.models.local.decode_attention import decode_attention
from backtalk.models.local.threads import SMALL_MODEL, suitable_threads


class _Layer(torch.nn.Module):
    is_causal = True

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


@pytest.mark.parametrize("key_heads", [1, 2, 6])
@pytest.mark.parametrize("mask_heads", [0, 1, 6])
@pytest.mark.parametrize("boolean", [True, False])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_one_query_attends_as_pytorch_does(key_heads, mask_heads, boolean, scaling):
    heads, rows, length, width = 6, 3, 11, 8
    draw = torch.Generator().manual_seed(key_heads + 10 * mask_heads)
    query = torch.randn(rows, heads, 1, width, generator=draw)
    key, value = torch.randn(2, rows, key_heads, length, width, generator=draw)
    mask = None
    if mask_heads:
        mask = torch.rand(rows, mask_heads, 1, length, generator=draw) < 0.7
        mask[..., -1] = True
        if not boolean:
            mask = torch.where(mask, 0.0, -1e9)
    layer = _Layer(heads // key_heads)
    expected, _ = sdpa_attention_forward(layer, query, key, value, mask, 0.0, scaling)
    output, _ = decode_attention(layer, query, key, value, mask, scaling=scaling)
    torch.testing.assert_close(output, expected)


class _Model:
    def __init__(self, parameters: int, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.parameters = parameters

    def num_parameters(self) -> int:
        return self.parameters


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_a_small_model_uses_one_thread_until_its_last_user_is_done():
    small, other = _Model(10), _Model(20)
    first, second = suitable_threads(small), suitable_threads(other)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == 1
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("model", [_Model(SMALL_MODEL), _Model(10, "meta")])
def test_other_models_use_the_default_number_of_threads(model):
    with suitable_threads(model):
        assert torch.get_num_threads() == 3
