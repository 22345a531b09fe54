"""Views of the responses of an interaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.feedback import Interaction, Response
from backtalk.serve.pages.interactions.feedback_view import format_metadata


@dataclass(frozen=True)
class ResponseView:
    """View of a response."""

    response: Response
    position: int | None
    """Position at which it was shown, from 1; ``None`` if it was not shown or this is unknown."""
    hidden: bool
    """True if it was sampled but not shown."""
    facts: Sequence[tuple[str, str]]
    """Properties, as name and value."""
    metadata: str


def response_views(interaction: Interaction) -> list[ResponseView]:
    """Return views of the responses: those shown first, in their order, then the others."""
    shown = interaction.shown or ()
    positions = {id_: index for index, id_ in enumerate(shown, 1)}
    views = [
        ResponseView(
            response=response,
            position=positions.get(response.id),
            hidden=interaction.shown is not None and response.id not in positions,
            facts=_facts(response),
            metadata=format_metadata(
                {k: v for k, v in response.metadata.items() if k not in _SHOWN_METADATA}
            ),
        )
        for response in interaction.responses
    ]
    return sorted(views, key=lambda view: (view.hidden, view.position or 0))


_SHOWN_METADATA = frozenset({"score", "hidden", "finish_reason"})
"""Metadata shown as properties."""


def _facts(response: Response) -> list[tuple[str, str]]:
    values: dict[str, Any] = {
        "score": response.metadata.get("score"),
        "model": response.model,
        "policy": response.policy,
        "sample": response.sample,
        "propensity": response.propensity,
        "log-probability": response.log_probability,
        "finish reason": response.metadata.get("finish_reason"),
    }
    return [(name, _number(value)) for name, value in values.items() if value is not None]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
