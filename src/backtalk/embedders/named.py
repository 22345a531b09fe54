"""What rewards embed answers with, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from backtalk.embedders.io import HashedTfidf, SentenceEmbedder
from backtalk.feedback import prompt_text
from backtalk.feedback.views import Pair
from backtalk.models.protocol import Embedder

EmbedderName = Literal["hashed", "sentence"]
"""Hashed TF-IDF, which needs nothing, or a sentence embedding model, which needs
``backtalk[embed]``."""

HASHED_DIMENSION = 128


def named_embedder(name: EmbedderName, pairs: Iterable[Pair]) -> Embedder:
    """Return the embedder of that name; the hashed one weighs words by the texts of the pairs.

    Raises
    ------
    MissingExtra
        If its packages are not installed.
    """
    if name == "sentence":
        return SentenceEmbedder()
    texts = {
        text
        for pair in pairs
        for text in (pair.chosen, pair.rejected, prompt_text(pair.prompt[-1:]))
    }
    return HashedTfidf.fit(sorted(texts), dimension=HASHED_DIMENSION)
