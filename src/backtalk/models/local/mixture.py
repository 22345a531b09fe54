"""A geometric mixture of models on this machine: each token is drawn from a product of powers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.models.errors import BadRequest
from backtalk.models.local.model import LocalModel
from backtalk.models.protocol import Request

if TYPE_CHECKING:
    from backtalk.models.local.engine import Engine
    from backtalk.models.local.sampler import Row


class Mixture(LocalModel):
    """Several local models as one: each token's probability is a product of powers of theirs.

    ``p(token)`` is proportional to the product of ``p_i(token) ** w_i``. The weights sum to 1 and
    may be negative. Two policies at 7/8 and 1/8 are the opponent of Nash-MD (Munos et
    al., 2023, section 7); with a weight above 1 the mixture leads away from the other model, as in
    PILAF (Feng et al., 2025). A token that one of the models excludes has probability 0.

    Temperature and top-p apply to the mixture, and so does a completion's log-probability.

    Parameters
    ----------
    models : sequence of LocalModel
        What is mixed; they have to share tokenizer and chat template.
    weights : sequence of float
        One a model.
    name : str, optional
        What to call it; weights and names by default.
    batch_tokens : int, default 16384
        As for :class:`~backtalk.models.local.model.LocalModel`.

    Raises
    ------
    BacktalkError
        If there is not a weight a model, or they do not sum to 1; and, when it is first used, if
        the models have different tokenizers.
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
                "Give one weight a model; they sum to 1, as 0.875 and 0.125 do",
            )
        parts = zip(models, weights, strict=True)
        super().__init__(
            name or " ".join(f"{weight:+g} {model.name}" for model, weight in parts),
            chat_template=models[0].chat_template,
            template_options=models[0].template_options,
            batch_tokens=batch_tokens,
        )
        self._models = tuple(models)
        self._weights = tuple(weights)

    @cached_property
    def identity(self) -> str:
        """What the models are, and their weights."""
        parts = zip(self._models, self._weights, strict=True)
        return "mixture " + " ".join(f"{weight!r} ({model.identity})" for model, weight in parts)

    def to_train(self) -> Engine:
        """Refuse: a mixture has no weights of its own."""
        raise BacktalkError(
            f"The mixture {self.name!r} has no weights of its own that could be trained",
            "Train one of the policies that are mixed",
        )

    @cached_property
    def _engine(self) -> Engine:
        from backtalk.models.local.mixture_engine import MixtureEngine  # noqa: PLC0415 - loads torch

        return MixtureEngine(
            [model.engine for model in self._models], self._weights, name=self.name
        )

    def _row(self, request: Request) -> Row:
        row = super()._row(request)
        tools = request.options.get("tools")
        for model in self._models[1:]:
            if tuple(model.chat.prompt(request.messages, tools=tools)) != row.prompt:
                raise BadRequest(
                    f"{self._models[0].name!r} and {model.name!r} write the prompt differently, "
                    "so that their next tokens cannot be mixed",
                    "Give both the same chat_template and template_options",
                )
        return row
