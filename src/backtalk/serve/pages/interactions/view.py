"""The responses of an interaction, as its page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.feedback import Interaction, Response
from backtalk.serve.pages.interactions.feedback_view import as_json


@dataclass(frozen=True)
class ResponseView:
    """A response and what became of it."""

    response: Response
    place: int | None
    """Where it was shown, from 1; ``None`` where it was not, or nobody knows."""
    hidden: bool
    """Whether it was sampled and not shown."""
    facts: Sequence[tuple[str, str]]
    """What is known about it, a name and a value each."""
    metadata: str


def response_views(interaction: Interaction) -> list[ResponseView]:
    """Return the responses of an interaction, those that were shown first, in their order."""
    shown = interaction.shown or ()
    places = {id_: index for index, id_ in enumerate(shown, 1)}
    views = [
        ResponseView(
            response=response,
            place=places.get(response.id),
            hidden=interaction.shown is not None and response.id not in places,
            facts=_facts(response),
            metadata=as_json({k: v for k, v in response.metadata.items() if k not in _TOLD}),
        )
        for response in interaction.responses
    ]
    return sorted(views, key=lambda view: (view.hidden, view.place or 0))


_TOLD = frozenset({"score", "hidden", "finish_reason"})
"""What of a response's metadata is told as a fact."""


def _facts(response: Response) -> list[tuple[str, str]]:
    given: dict[str, Any] = {
        "score": response.metadata.get("score"),
        "model": response.model,
        "policy": response.policy,
        "sample": response.sample,
        "shown with probability": response.propensity,
        "log-probability": response.log_probability,
        "ended by": response.metadata.get("finish_reason"),
    }
    return [(name, _number(value)) for name, value in given.items() if value is not None]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
