"""Embedders: vectors of texts."""

from backtalk.embedders.hashed_tfidf import HashedTfidf
from backtalk.embedders.io import embedder_from_files, embedder_to_files
from backtalk.embedders.registry import get_embedder, register_embedder
from backtalk.embedders.sentence import SentenceEmbedder

__all__ = [
    "HashedTfidf",
    "SentenceEmbedder",
    "embedder_from_files",
    "embedder_to_files",
    "get_embedder",
    "register_embedder",
]
