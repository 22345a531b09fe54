"""Vector index: agreement with brute force over any order of operations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtalk.errors import BacktalkError
from backtalk.memory.index import VectorIndex

DIMENSION = 4

vectors = st.lists(st.integers(-2, 2), min_size=DIMENSION, max_size=DIMENSION)
ids = st.one_of(st.integers(0, 12), st.sampled_from([5_000_000_000, 2**62]))
scopes = st.one_of(
    st.none(),
    st.lists(ids, max_size=8),
    st.lists(st.booleans(), max_size=16).map(lambda mask: np.array(mask, bool)),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.tuples(ids, vectors), max_size=12)),
        st.tuples(st.just("remove"), st.lists(ids, max_size=6)),
        st.tuples(st.just("search"), st.tuples(vectors, st.integers(1, 6), scopes)),
        st.just(("restart", None)),
    ),
    max_size=15,
)


def allows(scope, id_):
    if scope is None:
        return True
    if isinstance(scope, np.ndarray):
        return id_ < len(scope) and scope[id_]
    return id_ in scope


def cosine(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / lengths if lengths else 0.0


def check_search(index, expected, query, k, scope):
    """Compare a search with brute force over a dictionary; equal similarities may swap ids."""
    similarities = {i: cosine(query, v) for i, v in expected.items() if allows(scope, i)}
    found, values = index.search([query], k, allowed=scope)
    assert found.shape == values.shape == (1, k)
    count = min(k, len(similarities))
    assert (found[0, count:] == -1).all()
    assert (values[0, count:] == -np.inf).all()
    best = sorted(similarities.values(), reverse=True)[:count]
    np.testing.assert_allclose(values[0, :count], best, atol=1e-5)
    assert len(set(found[0, :count].tolist())) == count
    for id_, value in zip(found[0, :count].tolist(), values[0, :count], strict=True):
        assert similarities[id_] == pytest.approx(value, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(operations)
def test_any_order_of_operations_agrees_with_brute_force(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("index")
    index, expected = VectorIndex(DIMENSION), {}
    for name, argument in steps:
        if name == "add":
            index.add([i for i, _ in argument], np.array([v for _, v in argument]).reshape(-1, 4))
            expected.update(argument)
        elif name == "remove":
            present = {i for i in argument if expected.pop(i, None) is not None}
            assert index.remove(argument) == len(present)
        elif name == "restart":
            index.save(folder)
            index = VectorIndex.load(folder)
        else:
            check_search(index, expected, *argument)
        assert len(index) == len(expected)
        assert index.ids.tolist() == sorted(expected)


def test_an_empty_index_finds_nothing():
    found, similarities = VectorIndex(3).search([[1, 0, 0], [0, 1, 0]], 2)
    assert found.tolist() == [[-1, -1], [-1, -1]]
    assert (similarities == -np.inf).all()


def test_a_search_without_queries_returns_no_rows():
    assert VectorIndex(3).search(np.empty((0, 3)), 2)[0].shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda index: index.add([1], [[1.0, 2.0]]), r"shape \(1, 2\).*dimension 3"),
        (lambda index: index.search([1.0, 2.0, 3.0], 1), r"shape \(3,\).*shape \(n, 3\)"),
        (lambda index: index.add([1, 2], [[1, 2, 3]]), "2 ids came with 1 vectors"),
        (lambda index: index.add([-1], [[1, 2, 3]]), "at least 0"),
        (lambda index: index.add([0.5], [[1, 2, 3]]), "integers"),
        (lambda index: index.add([1], [[1, np.nan, 3]]), "not finite"),
        (lambda index: index.search([[1, 2, 3]], 0), "k of 1 or more"),
        (lambda index: VectorIndex(0), "dimension 0"),
        (lambda index: VectorIndex.load("nowhere"), "no vector index in nowhere"),
    ],
)
def test_an_error_names_the_value_and_the_mend(call, message):
    with pytest.raises(BacktalkError, match=message):
        call(VectorIndex(3))
