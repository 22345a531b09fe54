"""The way from a model's hidden states to log-probabilities, found out by a trial."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from backtalk.learn.finetune.heads import linear_log_probs, log_probs_from_logits
from backtalk.models import UnsupportedModel

log = logging.getLogger(__name__)

_TOLERANCE = 1e-4
"""Largest difference of logits, relative to their size, that is rounding."""
_FACTORS = (1e-3, 30.0, 1e6, 2e6)
"""Factors of the states of the trial, which show what a head does with small and large logits."""


class OutputLayer:
    """Computation after a model's last layer: logits of tokens from their states.

    Most models multiply the last hidden states by a matrix; some scale the logits or limit them by
    a softcap (``cap * tanh(logits / cap)``). For these the log-probabilities are computed in one
    pass without the logits of all tokens in memory. Whether a model is one of these, with which
    factors, is found out by a trial with its own forward pass. For every other model, its own code
    computes the logits.

    Parameters
    ----------
    model : Any
        Causal language model of transformers, in evaluation mode.
    row : sequence of int
        Tokens of the trial.

    Raises
    ------
    UnsupportedModel
        If the model cannot compute tokens.
    """

    def __init__(self, model: Any, row: Sequence[int]) -> None:
        self._model = model
        self._layer = model.get_output_embeddings()
        self._captures = False
        self._scale = 1.0
        self._softcap: float | None = None
        self.kind = "logits"
        """``"linear"``, ``"own"`` (the model's code computes logits from states), or ``"logits"``
        (the states are the logits)."""
        with torch.no_grad():
            self._try(row)
        name = type(model).__name__
        log.info("%s: log-probabilities by %s", name, self.description)

    @property
    def description(self) -> str:
        """Computation of the logits, in words."""
        if self.kind != "linear":
            return "the model's own head"
        factors = [] if self._scale == 1 else [f"times {self._scale:g}"]
        factors += [] if self._softcap is None else [f"with softcap {self._softcap:g}"]
        return " ".join(["a linear layer", *factors])

    def states(self, inputs: Mapping[str, Any]) -> Tensor:
        """Return the states from which :meth:`log_probs` computes, ``(rows, columns, width)``.

        Parameters
        ----------
        inputs : Mapping[str, Any]
            Arguments of the model's forward pass.
        """
        if self.kind == "logits":
            logits: Tensor = self._model(**inputs).logits
            return logits
        if not self._captures:
            hidden: Tensor = self._model.base_model(**inputs).last_hidden_state
            return hidden
        with _captured(self._layer) as captured:
            self._model(**inputs)
        return captured[0]

    def log_probs(self, states: Tensor, targets: Tensor, top_k: int) -> Tensor:
        """Return log-probabilities of the target and of the top k others, ``(N, 1 + k)``.

        Parameters
        ----------
        states : Tensor
            States of N tokens, shape ``(N, width)``.
        targets : Tensor
            Ids of the next tokens, shape ``(N,)``.
        top_k : int
            Number of most probable other tokens.
        """
        if self.kind == "linear":
            return linear_log_probs(
                states,
                self._layer.weight,
                self._layer.bias,
                targets,
                scale=self._scale,
                softcap=self._softcap,
                top_k=top_k,
            )
        return log_probs_from_logits(
            self._own_logits if self.kind == "own" else lambda logits: logits,
            states,
            targets,
            top_k=top_k,
            vocabulary=self._vocabulary,
        )

    def _own_logits(self, states: Tensor) -> Tensor:
        """Return the logits of states by the model's own code.

        The model computes a single token, and the states take its place before the output layer.
        """
        tokens = torch.ones((1, 1), dtype=torch.long, device=states.device)

        def replace(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            return (states[None], *arguments[1:])

        handle = self._layer.register_forward_pre_hook(replace)
        try:
            logits: Tensor = self._model(input_ids=tokens, use_cache=False).logits[0]
        finally:
            handle.remove()
        return logits

    def _try(self, row: Sequence[int]) -> None:
        inputs = {"input_ids": torch.tensor([row], device=self._model.device), "use_cache": False}
        captured: list[Tensor] = []

        def capture(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            captured.append(arguments[0])

        handle = None if self._layer is None else self._layer.register_forward_pre_hook(capture)
        try:
            expected = self._model(**inputs).logits[0]
        except Exception as error:
            raise UnsupportedModel(
                f"{type(self._model).__name__} cannot be trained: a forward pass of tokens fails "
                f"with {type(error).__name__}: {str(error)[:120]}",
                "Use a causal language model that transformers runs on token ids alone",
            ) from error
        finally:
            if handle is not None:
                handle.remove()
        self._vocabulary = expected.shape[1]
        if len(captured) != 1 or not bool(torch.isfinite(expected).any()):
            return
        states = captured[0][0]
        enlarged = torch.cat([states * factor for factor in (1.0, *_FACTORS)])
        try:
            own, *others = torch.split(self._own_logits(enlarged), len(states))
        except Exception as error:  # noqa: BLE001 - a head may do anything
            log.debug("The output layer is not used by itself: %s", error)
            return
        if not _equal(own, expected):
            return
        self.kind, self._captures = "own", not self._is_last_hidden(inputs, states)
        if isinstance(self._layer, nn.Linear):
            self._try_linear(states, own, *others)

    def _is_last_hidden(self, inputs: Mapping[str, Any], states: Tensor) -> bool:
        try:
            hidden = self._model.base_model(**inputs).last_hidden_state[0]
        except (AttributeError, TypeError):
            return False
        return _equal(hidden, states)

    def _try_linear(self, states: Tensor, *logits: Tensor) -> None:
        """Measure the factor and the limit of the logits, and compare with the model's own.

        Parameters
        ----------
        states : Tensor
            States of the trial.
        *logits : Tensor
            The model's logits of the states, and of the states times each factor.
        """
        own, small, enlarged, huge, larger = (part.float() for part in logits)
        linear = self._layer(states * _FACTORS[0]).float()
        large = linear.abs() > 0.1 * linear.abs().max()
        scale = float((small / linear)[large].median())
        self._scale = 1.0 if abs(scale - 1) < _TOLERANCE else scale
        limits = [float(part.abs().max()) for part in (huge, larger)]
        self._softcap = limits[0] if limits[1] < 1.01 * limits[0] else None
        for factor, expected in ((1.0, own), (_FACTORS[1], enlarged)):
            mine = self._layer(states * factor).float() * self._scale
            if self._softcap is not None:
                mine = self._softcap * torch.tanh(mine / self._softcap)
            if not _equal(mine.to(states.dtype), expected):
                return
        self.kind = "linear"


@contextmanager
def _captured(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the input of a layer, which computes its output for the first column only."""
    captured: list[Tensor] = []

    def capture(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        captured.append(arguments[0])
        return (arguments[0][:, :1], *arguments[1:])

    handle = layer.register_forward_pre_hook(capture)
    try:
        yield captured
    finally:
        handle.remove()


def _equal(values: Tensor, expected: Tensor) -> bool:
    if values.shape != expected.shape:
        return False
    eps = torch.finfo(values.dtype).eps
    values, expected = values.float(), expected.float()
    finite = torch.isfinite(expected)
    if not torch.equal(finite, torch.isfinite(values)):
        return False
    size = float(expected[finite].abs().max())
    tolerance = max(_TOLERANCE, 4 * eps) * max(size, 1e-6)
    return bool((values - expected)[finite].abs().max() <= tolerance)
