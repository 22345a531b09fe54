"""Embedders: texts to vectors."""

from backtalk.embedders.io import (
    HashedTfidf,
    SentenceEmbedder,
    embedder_from_files,
    embedder_to_files,
)

__all__ = ["HashedTfidf", "SentenceEmbedder", "embedder_from_files", "embedder_to_files"]
