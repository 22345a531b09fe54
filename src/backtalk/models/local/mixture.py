"""Geometric mixture of local models: each token comes from a weighted product of distributions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.models.errors import BadRequest
from backtalk.models.local.model import LocalModel
from backtalk.models.protocol import Request

if TYPE_CHECKING:
    from backtalk.models.local.chat_template import ChatTemplate
    from backtalk.models.local.engine import Engine
    from backtalk.models.local.sampler import SequenceState


class Mixture(LocalModel):
    """Geometric mixture of local models.

    The probability of a token is proportional to the product of ``p_i(token) ** w_i``. The weights
    sum to 1 and may be negative. Two policies at 7/8 and 1/8 are the opponent of Nash-MD (Munos et
    al., 2023, section 7). With a weight above 1 the mixture extrapolates away from the other model,
    as in PILAF (Feng et al., 2025). A token with probability 0 in one of the models has
    probability 0.

    Temperature and top-p apply to the mixture, and so does the log-probability of a completion.

    Parameters
    ----------
    models : sequence of LocalModel
        Models to mix; they must share tokenizer and chat template.
    weights : sequence of float
        Exponent of each model's probabilities.
    name : str, optional
        Name of the mixture; weights and names of the models by default.
    batch_tokens : int, default 16384
        Maximum number of tokens in a batch, with padding.

    Raises
    ------
    BacktalkError
        If the number of weights differs from that of the models, or they do not sum to 1; on first
        use, if the models have different tokenizers.
    """

    def __init__(
        self,
        models: Sequence[LocalModel],
        weights: Sequence[float],
        *,
        name: str | None = None,
        batch_tokens: int = 16384,
    ) -> None:
        if not models or len(models) != len(weights) or abs(sum(weights) - 1) > 1e-6:
            raise BacktalkError(
                f"{len(models)} models cannot be mixed with the weights {[*weights]}",
                "Give one weight per model; they sum to 1, such as 0.875 and 0.125",
            )
        weighted = zip(models, weights, strict=True)
        super().__init__(
            name or " ".join(f"{weight:+g} {model.name}" for model, weight in weighted),
            chat_template=models[0].chat_template,
            template_options=models[0].template_options,
            batch_tokens=batch_tokens,
        )
        self._models = tuple(models)
        self._weights = tuple(weights)

    @cached_property
    def identity(self) -> str:
        """Identities of the models with their weights."""
        weighted = zip(self._models, self._weights, strict=True)
        return "mixture " + " ".join(f"{weight!r} ({model.identity})" for model, weight in weighted)

    def load_trainable_engine(self) -> Engine:
        """Raise an error, as a mixture has no weights of its own."""
        raise BacktalkError(
            f"The mixture {self.name!r} has no weights of its own to train",
            "Train one of the policies in the mixture",
        )

    def load_chat(self) -> ChatTemplate:
        """Return the chat template of the first model, without loading the weights."""
        return self._models[0].load_chat()

    @cached_property
    def _engine(self) -> Engine:
        from backtalk.models.local.mixture_engine import MixtureEngine  # noqa: PLC0415 - loads torch

        return MixtureEngine(
            [model.engine for model in self._models], self._weights, name=self.name
        )

    def _sequence(self, request: Request) -> SequenceState:
        sequence = super()._sequence(request)
        for model in self._models[1:]:
            prompt = model.chat.prompt_tokens(request.messages, options=request.options)
            if tuple(prompt) != sequence.prompt:
                raise BadRequest(
                    f"{self._models[0].name!r} and {model.name!r} write the prompt differently, "
                    "so that their next tokens cannot be mixed",
                    "Give both the same chat_template and template_options",
                )
        return sequence
