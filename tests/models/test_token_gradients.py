"""Gradients of tokens, compared with automatic differentiation of one-hot vectors and with finite
differences."""

import pytest
import torch

from backtalk.models.local.token_gradients import AnswerTokens, embedding_gradient, token_gradients
from tests.models import tiny

ROWS = [
    AnswerTokens((3, 40, 50, 60, 70, 2), (90, 91, 1), 2),
    AnswerTokens((3, 9, 8, 7, 50, 60, 70, 2, 33, 34), (95, 1), 4),
]
"""Conversations of different lengths with the same token at their positions."""


@pytest.fixture(params=["llama", "gpt2", "qwen2", "mistral"])
def model(request):
    return tiny.network(request.param).double()


def loss_of_one_hot(model, row, one_hot):
    """Return the loss of one conversation, without padding, as a function of a one-hot vector."""
    matrix = model.get_input_embeddings().weight
    tokens = torch.tensor([*row.context, *row.answer])
    indicators = torch.nn.functional.one_hot(tokens, len(matrix)).double()
    indicators = torch.cat(
        [indicators[: row.position], one_hot[None], indicators[row.position + 1 :]]
    )
    logits = model(inputs_embeds=(indicators @ matrix)[None]).logits[0]
    first = len(row.context)
    return torch.nn.functional.cross_entropy(logits[first - 1 : -1], tokens[first:])


def mean_loss(model, one_hot):
    return sum(loss_of_one_hot(model, row, one_hot) for row in ROWS) / len(ROWS)


def test_it_is_the_gradient_of_the_one_hot_vector(model):
    one_hot = torch.nn.functional.one_hot(torch.tensor(50), 384).double().requires_grad_()
    (expected,) = torch.autograd.grad(mean_loss(model, one_hot), one_hot)
    actual = token_gradients(model, ROWS, range(384))
    torch.testing.assert_close(actual, expected, atol=2e-4, rtol=2e-4)


def test_it_agrees_with_finite_differences(model):
    one_hot = torch.nn.functional.one_hot(torch.tensor(50), 384).double()
    candidates = [5, 50, 200]
    actual = token_gradients(model, ROWS, candidates)
    for candidate, value in zip(candidates, actual, strict=True):
        step = 1e-3 * torch.nn.functional.one_hot(torch.tensor(candidate), 384)
        with torch.no_grad():
            change = mean_loss(model, one_hot + step) - mean_loss(model, one_hot - step)
        assert float(value) == pytest.approx(float(change) / 2e-3, rel=0.02, abs=2e-3)


def test_the_weights_stay_without_gradients(model):
    embedding_gradient(model, ROWS)
    assert all(parameter.grad is None for parameter in model.parameters())
