"""What holds for every embedder: check a new one by calling this with it."""

from collections.abc import Sequence

import numpy as np

from backtalk.embedders import embedder_from_files, embedder_to_files
from backtalk.models import Embedder
from backtalk.models.run_sync import run_sync


def check_embedder(embedder: Embedder, texts: Sequence[str]) -> None:
    """Check shape, kind of number, order, batches, and the way to files and back."""
    assert isinstance(embedder, Embedder)
    together = run_sync(embedder.embed(texts))
    assert together.shape == (len(texts), embedder.dimension)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    for text, vector in zip(texts, together, strict=True):
        (alone,) = run_sync(embedder.embed([text]))
        np.testing.assert_allclose(alone, vector, atol=2e-6)
    backwards = run_sync(embedder.embed(list(reversed(texts))))
    np.testing.assert_allclose(backwards[::-1], together, atol=2e-6)
    assert run_sync(embedder.embed([])).shape == (0, embedder.dimension)

    again = embedder_from_files(embedder_to_files(embedder))
    assert again.identity == embedder.identity
    assert again.dimension == embedder.dimension
    np.testing.assert_array_equal(run_sync(again.embed(texts)), together)
