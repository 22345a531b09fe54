"""Vector index: agreement with brute force over any order of operations."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtalk.errors import BacktalkError
from backtalk.memory.index import VectorIndex, partition, vector_index

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


@pytest.fixture
def small_lists(monkeypatch):
    """Learn lists of rows for tiny indexes."""
    pytest.importorskip("faiss", reason="backtalk[memory] is not installed")
    monkeypatch.setattr(vector_index, "EXACT_ROWS", 4)
    monkeypatch.setattr(vector_index, "EXACT_SCOPE", 1)


@settings(max_examples=40, deadline=None)
@given(operations)
def test_any_order_of_operations_agrees_with_brute_force(tmp_path_factory, steps):
    check_operations(tmp_path_factory, steps)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations)
def test_operations_with_lists_agree_with_brute_force(small_lists, tmp_path_factory, steps):
    check_operations(tmp_path_factory, steps)


def check_operations(tmp_path_factory, steps):
    """Compare an index with a dictionary after each step."""
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


def clustered(count, seed):
    """Return vectors around 200 centres of 32 dimensions."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((200, 32))
    return (centres[rng.integers(200, size=count)] + 0.7 * rng.standard_normal((count, 32))).astype(
        "f4"
    )


def recall(index, vectors_, queries, allowed, alive):
    """Return the share of the exact ten nearest that a search returns."""
    mask = alive if allowed is None else alive & allowed
    rows = np.flatnonzero(mask)
    units = vectors_[rows] / np.linalg.norm(vectors_[rows], axis=1, keepdims=True)
    best = rows[np.argsort(-(queries @ units.T), axis=1)[:, :10]]
    results, _ = index.search(queries, 10, allowed=allowed)
    assert mask[results].all()
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(results, best, strict=True)])


@pytest.fixture(scope="module")
def large():
    """Index of 20,000 vectors with lists, their vectors, and queries."""
    pytest.importorskip("faiss", reason="backtalk[memory] is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_index, "EXACT_ROWS", 8_000)
        patch.setattr(vector_index, "EXACT_SCOPE", 500)
        patch.setattr(partition, "_BUDGET", 1_200)
        index = VectorIndex(32)
        vectors_ = clustered(20_000, 1)
        for begin in range(0, 20_000, 5_000):
            ids_ = np.arange(begin, begin + 5_000)
            index.add(ids_, vectors_[ids_])
        yield index, vectors_, clustered(40, 2)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.04, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["random", "topic"])
def test_a_search_in_a_scope_finds_the_nearest(large, share, kind):
    index, vectors_, queries = large
    rank = np.random.default_rng(3).random(20_000) if kind == "random" else -vectors_[:, 0]
    allowed = rank <= np.quantile(rank, share)
    alive = np.isin(np.arange(20_000), index.ids)
    assert recall(index, vectors_, queries, allowed, alive) >= 0.95
    ids_ = np.flatnonzero(allowed)
    np.testing.assert_array_equal(
        index.search(queries, 10, allowed=ids_)[0], index.search(queries, 10, allowed=allowed)[0]
    )


def test_a_zero_query_has_results_as_all_are_equally_near(large):
    index, *_ = large
    for allowed in (None, np.arange(0, 20_000, 3)):
        ids_, similarities = index.search(np.zeros((1, 32)), 10, allowed=allowed)
        assert (ids_ >= 0).all()
        assert (similarities == 0).all()


def test_removed_vectors_never_come_back(large, tmp_path):
    original, vectors_, queries = large
    original.save(tmp_path)
    index = VectorIndex.load(tmp_path)
    removed = np.unique(index.search(queries, 20)[0])
    assert index.remove(removed) == len(removed)
    alive = ~np.isin(np.arange(20_000), removed)
    assert recall(index, vectors_, queries, None, alive) >= 0.95
    index.save(tmp_path)
    restarted = VectorIndex.load(tmp_path)
    for k in (10, 200):
        results = zip(index.search(queries, k), restarted.search(queries, k), strict=True)
        for before, after in results:
            np.testing.assert_allclose(before, after, rtol=1e-6)
    unit = vectors_[removed[0]] / np.linalg.norm(vectors_[removed[0]])
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert unit.tobytes() not in files
    restarted.add(removed, vectors_[removed])
    assert recall(restarted, vectors_, queries, None, np.ones(20_000, bool)) >= 0.95


def test_a_save_writes_changes_only(large, tmp_path):
    original, _, queries = large
    original.save(tmp_path)
    index = VectorIndex.load(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    index.add([30_000], queries[:1])
    index.save(tmp_path)
    unchanged = before & {path.name for path in tmp_path.iterdir()}
    assert {name.split("-")[0] for name in unchanged} >= {"vectors", "partition"}
    restarted = VectorIndex.load(tmp_path)
    assert restarted.search(queries[:1], 1)[0].tolist() == [[30_000]]
    assert len(restarted) == 20_001


def test_a_search_runs_while_others_add_and_remove(large):
    index, _, queries = large
    expected = index.search(queries, 5)[0]
    far = np.full((200, 32), -9, "f4")
    stop = threading.Event()

    def change():
        while not stop.is_set():
            index.add(np.arange(40_000, 40_200), far)
            index.remove(np.arange(40_000, 40_200))

    writer = threading.Thread(target=change)
    writer.start()
    try:
        results = [index.search(queries, 5)[0] for _ in range(20)]
    finally:
        stop.set()
        writer.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)
    assert len(index) == 20_000


def test_most_rows_removed_leave_an_exact_index(monkeypatch):
    index = VectorIndex(32)
    vectors_ = clustered(3_000, 4)
    index.add(np.arange(3_000), vectors_)
    index.remove(np.arange(2_900))
    assert index.ids.tolist() == list(range(2_900, 3_000))
    alive = np.arange(3_000) >= 2_900
    assert recall(index, vectors_, clustered(5, 5), None, alive) == 1


def test_two_processes_that_save_leave_one_of_their_states(tmp_path):
    first = VectorIndex(3)
    first.add([1], [[1, 0, 0]])
    first.save(tmp_path)
    second = VectorIndex.load(tmp_path)
    first.add([2], [[0, 1, 0]])
    second.add([3], [[0, 0, 1]])
    first.save(tmp_path)
    second.save(tmp_path)
    restarted = VectorIndex.load(tmp_path)
    assert restarted.ids.tolist() == [1, 3]
    assert restarted.search([[0, 0, 1]], 1)[0].tolist() == [[3]]


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
