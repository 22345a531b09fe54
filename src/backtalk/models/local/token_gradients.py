"""Gradients of the loss of an answer with respect to the tokens of its prompt."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from backtalk.models.local.forward import pad_left


@dataclass(frozen=True)
class AnswerTokens:
    """Tokens of a conversation, with the position of one token of its prompt."""

    context: tuple[int, ...]
    """Tokens before the answer: the prompt, and reasoning if there is any."""
    answer: tuple[int, ...]
    """Tokens of the answer, whose loss counts."""
    position: int
    """Index in ``context`` of the token that may change."""

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.context) + len(self.answer)


def answer_loss(
    model: Any, embeddings: torch.Tensor, mask: torch.Tensor, answers: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Return the mean over conversations of the mean negative log-probability of answer tokens.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    embeddings : torch.Tensor
        Embeddings of left-padded conversations, shape ``(n, length, width)``.
    mask : torch.Tensor
        Shape ``(n, length)``: 1 for a token, 0 for padding.
    answers : sequence of sequence of int
        Last tokens of each conversation, whose loss counts.

    Returns
    -------
    torch.Tensor
        Scalar, in nats.
    """
    longest = max(map(len, answers))
    accepted = inspect.signature(model.forward).parameters
    options: dict[str, Any] = {}
    if "logits_to_keep" in accepted:
        options["logits_to_keep"] = longest + 1
    if not bool(mask.all()):
        options["attention_mask"] = mask
        if "position_ids" in accepted:
            options["position_ids"] = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    output = model(inputs_embeds=embeddings, use_cache=False, **options)
    logits = output.logits[:, -longest - 1 : -1].float()
    targets, counts = pad_left(answers, logits.device)
    values = logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(dim=-1)
    loss: torch.Tensor = -((values * counts).sum(dim=1) / counts.sum(dim=1)).mean()
    return loss


def embedding_gradient(model: Any, rows: Sequence[AnswerTokens]) -> torch.Tensor:
    """Return the gradient of the loss with respect to the embedding at the rows' positions.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    rows : sequence of AnswerTokens
        Conversations; the same token of the prompt is at the position of each.

    Returns
    -------
    torch.Tensor
        Shape ``(width,)``: the sum over rows, as they share the token.
    """
    tokens, mask = pad_left([[*row.context, *row.answer] for row in rows], model.device)
    embeddings = model.get_input_embeddings()(tokens).detach().requires_grad_()
    loss = answer_loss(model, embeddings, mask, [row.answer for row in rows])
    (gradient,) = torch.autograd.grad(loss, embeddings)
    indices = [tokens.shape[1] - row.length + row.position for row in rows]
    total: torch.Tensor = gradient[list(range(len(rows))), indices].sum(dim=0)
    return total


def token_gradients(
    model: Any, rows: Sequence[AnswerTokens], candidates: Sequence[int], *, padded: bool = True
) -> torch.Tensor:
    """Return the derivative of the loss with respect to the one-hot indicators of candidates.

    The embedding of a one-hot vector is a row of the embedding matrix, so that the derivative is
    the product of that row with the gradient of the embedding: Shin et al. (2020), "AutoPrompt:
    eliciting knowledge from language models with automatically generated prompts", equation 2. The
    difference of two candidates is the first-order change of the loss when one replaces the other.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    rows : sequence of AnswerTokens
        Conversations; the same token of the prompt is at the position of each.
    candidates : sequence of int
        Tokens.
    padded : bool, default True
        If false, the model does not support padding, and each conversation is computed alone.

    Returns
    -------
    torch.Tensor
        Shape ``(candidates,)``, in nats.
    """
    groups = [rows] if padded else [[row] for row in rows]
    weighted = [embedding_gradient(model, group) * len(group) for group in groups]
    gradient = torch.stack(weighted).sum(dim=0) / len(rows)
    embed = model.get_input_embeddings()
    with torch.no_grad():
        vectors: torch.Tensor = embed(torch.tensor(list(candidates), device=model.device))
    return (vectors.double() @ gradient.double()).cpu()
