"""Result of a method that looked for something better and found nothing."""

from __future__ import annotations

from backtalk.errors import BacktalkError


class NoImprovement(BacktalkError):
    """Result of a method that found nothing that is shown to be better; no policy is learned."""
