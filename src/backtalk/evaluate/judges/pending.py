"""Judgements that people have yet to make."""

from backtalk.errors import BacktalkError


class JudgementsPending(BacktalkError):
    """Comparisons that people have not made yet."""
