"""Properties of embedders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.embedders import embedder_from_files, embedder_to_files
from backtalk.models import Embedder
from backtalk.models.run_sync import run_sync


def check_embedder(embedder: Embedder, texts: Sequence[str]) -> None:
    """Check shape, dtype, order, independence of the batch, and storage as files."""
    assert isinstance(embedder, Embedder)
    vectors = run_sync(embedder.embed(texts))
    assert vectors.shape == (len(texts), embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    for text, vector in zip(texts, vectors, strict=True):
        (single,) = run_sync(embedder.embed([text]))
        np.testing.assert_allclose(single, vector, atol=2e-6)
    reverse = run_sync(embedder.embed(list(reversed(texts))))
    np.testing.assert_allclose(reverse[::-1], vectors, atol=2e-6)
    assert run_sync(embedder.embed([])).shape == (0, embedder.dimension)

    copy = embedder_from_files(embedder_to_files(embedder))
    assert copy.identity == embedder.identity
    assert copy.dimension == embedder.dimension
    np.testing.assert_array_equal(run_sync(copy.embed(texts)), vectors)


class EmbedderLaws:
    """Tests of an embedder: subclass it in a test module and implement :meth:`embedder`."""

    texts: Sequence[str] = ("open at nine", "closed on Sunday", "")

    def embedder(self) -> Embedder:
        """Return the embedder."""
        raise NotImplementedError

    def test_laws_of_embedders(self) -> None:
        """Check the embedder."""
        check_embedder(self.embedder(), self.texts)
