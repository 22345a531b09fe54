"""Log-probabilities of response tokens, computed in chunks and summed in float32."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backtalk.learn.finetune.output_layer import OutputLayer
from backtalk.learn.finetune.packing import PackedBatch, pack, pad
from backtalk.learn.finetune.tree_attention import attend_to_trees, tree_layout
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens
from backtalk.models import UnsupportedModel
from backtalk.models.local.decoding import trial_rows

log = logging.getLogger(__name__)

_TRIAL_PROMPT = 5
_TRIAL_RESPONSES = (4, 6)
"""Numbers of tokens of the prompt and the responses of the trial."""


@dataclass(frozen=True)
class TokenLogProbs:
    """Log-probabilities of response tokens under a model."""

    values: Tensor
    """Log-probability of each token, in nats, float32, shape ``(N,)``."""
    top_k: Tensor | None = None
    """Log-probabilities of the k most probable other tokens, in descending order, ``(N, k)``."""


class LogProbModel(nn.Module):
    """Causal language model that returns log-probabilities of the responses of trees.

    Parameters
    ----------
    model : Any
        Causal language model of transformers.
    share : bool, optional
        If true, each prompt is computed once. Default: determined by a trial. Models with a
        recurrent state or a sliding window cannot share prompts.

    Raises
    ------
    UnsupportedModel
        If the log-probabilities of padded rows are not those of the model's own forward pass.
    """

    def __init__(self, model: Any, *, share: bool | None = None) -> None:
        super().__init__()
        self.model = model
        parameters = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        training = model.training
        model.eval()
        try:
            trial = self._trial()
            self.output_layer = OutputLayer(model, _rows(trial)[0][0])
            """Computation of log-probabilities from hidden states."""
            self._check_rows(trial[:1])
            self.shares_prompts = self._can_share_prompts(trial) if share is None else share
            """True if each prompt is computed once."""
        finally:
            model.train(training)
        if self.shares_prompts:
            attend_to_trees(model)

    def forward(self, packed: PackedBatch, top_k: int = 0) -> TokenLogProbs:
        """Return the log-probabilities of the N response tokens of a batch.

        Parameters
        ----------
        packed : PackedBatch
            Packed trees or padded rows.
        top_k : int, default 0
            Number of most probable other tokens to return as well.
        """
        states = self._states(packed).flatten(0, 1)[packed.logit_positions]
        result = self.output_layer.log_probs(states, packed.targets, top_k)
        return TokenLogProbs(result[:, 0], result[:, 1:] if top_k else None)

    def score(self, trees: Sequence[PromptTree], top_k: int = 0) -> TokenLogProbs:
        """Return the log-probabilities of the response tokens of trees, in their order.

        Parameters
        ----------
        trees : sequence of PromptTree
            Trees with N response tokens.
        top_k : int, default 0
            Number of most probable other tokens to return as well.
        """
        scored: TokenLogProbs = self(self.collate(trees), top_k)
        return scored

    def collate(self, trees: Sequence[PromptTree]) -> PackedBatch:
        """Return trees as input of :meth:`forward`, on the model's device."""
        return (pack if self.shares_prompts else pad)(trees).to(self.model.device)

    def _states(self, packed: PackedBatch) -> Tensor:
        """Return the states before the output layer, shape ``(rows, columns, width)``."""
        inputs: dict[str, Any] = {"input_ids": packed.tokens, "use_cache": False}
        if not packed.tree_spans:
            # The positions of a row padded at its end are the model's own.
            inputs["attention_mask"] = packed.padding
        else:
            inputs |= {"position_ids": packed.positions}
            inputs |= tree_layout(packed.tree_spans, packed.tokens.device)
        return self.output_layer.states(inputs)

    def _trial(self) -> list[PromptTree]:
        lengths = [_TRIAL_PROMPT, *_TRIAL_RESPONSES]
        prompt, *responses = map(tuple, trial_rows(self.model, lengths))
        return [PromptTree(prompt, tuple(ResponseTokens(tokens) for tokens in responses))] * 2

    @torch.no_grad()
    def _check_rows(self, trial: Sequence[PromptTree]) -> None:
        """Raise an error unless padded rows give what the model gives for each row alone."""
        expected = torch.cat([self._plain(row, length) for row, length in _rows(trial)])
        difference = _difference(self(pad(trial).to(self.model.device)).values, expected)
        if difference > self._tolerance:
            raise UnsupportedModel(
                f"{type(self.model).__name__} cannot be trained: log-probabilities of padded rows "
                f"differ by {difference:.2g} nats from those of its own forward pass of each row",
                "Use a causal language model; for an encoder, is_decoder of its configuration is "
                "true",
            )

    def _plain(self, row: Sequence[int], length: int) -> Tensor:
        """Return the log-probabilities of the last tokens of a row by the model's own forward."""
        ids = torch.tensor([row], device=self.model.device)
        logits = self.model(input_ids=ids, use_cache=False).logits[0].float()
        start = len(row) - length - 1
        values: Tensor = logits[start:-1].log_softmax(dim=-1).gather(1, ids[0, start + 1 :, None])
        return values[:, 0]

    @property
    def _tolerance(self) -> float:
        if self.model.dtype != torch.float32:
            return 0.5
        # Other devices than a CPU may multiply in shorter formats inside float32.
        return 1e-3 if self.model.device.type == "cpu" else 1e-2

    @torch.no_grad()
    def _can_share_prompts(self, trial: Sequence[PromptTree]) -> bool:
        """Return whether packed trees and padded rows give the same log-probabilities."""
        config = self.model.config.get_text_config()
        layers = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = getattr(config, "sliding_window", None) and getattr(
            config, "use_sliding_window", True
        )
        if not self._takes_positions or layers != {"full_attention"} or window:
            return False
        attention = self.model.config._attn_implementation  # noqa: SLF001 - it has no other name
        try:
            attend_to_trees(self.model)
            packed, rows = pack(trial).to(self.model.device), pad(trial).to(self.model.device)
            difference = _difference(self(packed).values, self(rows).values)
        except Exception as error:  # noqa: BLE001 - padded rows support every model
            log.warning("Prompts are not shared: %s", error)
            return False
        finally:
            self.model.set_attn_implementation(attention)
        if difference > self._tolerance:
            log.warning("Prompts are not shared: log-probabilities differ by %.3g", difference)
        return difference <= self._tolerance


def _rows(trees: Sequence[PromptTree]) -> list[tuple[list[int], int]]:
    """Return the tokens of each response after its prompt, with the response's length."""
    return [
        ([*tree.prompt, *response.tokens], len(response.tokens))
        for tree in trees
        for response in tree.responses
    ]


def _difference(values: Tensor, expected: Tensor) -> float:
    """Return the largest difference; values that are no numbers in both are equal."""
    both = values.isnan() & expected.isnan()
    return float((values - expected).abs().masked_fill(both, 0.0).nan_to_num(torch.inf).max())
