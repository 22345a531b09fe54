"""Settings of token searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reasoning = Literal["auto", "none", "steps", "response"]
"""Text of the model between a request and the answer whose loss counts: none; its response up to
the last line, before the last line of the good answer; or its whole response and the extraction
text, before the good answer. "auto" is "response" if good answers are less than half as long as
the model's responses, and "none" otherwise."""

EXTRACTION = "Therefore, the final answer is"
"""Text between reasoning and a final answer."""


@dataclass(frozen=True)
class TokenSearchSettings:
    """Settings of a token search."""

    top_k: int = 10
    """Number of the most likely tokens that each context proposes for a position."""
    evaluated: int = 3
    """Number of candidates with the steepest gradients that are evaluated."""
    perplexity_weight: float = 0.02
    """Factor on the perplexity of the line in the objective, which keeps it readable. It is 0.2 in
    the package of the authors, whose answers are a few tokens."""
    continuations: bool = True
    """If true, each candidate is also evaluated with the rest of the line as the model continues
    it, beside the rest as it was."""
    max_length: int = 40
    """Maximum number of tokens of the line."""
