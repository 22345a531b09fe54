#!/bin/sh
# faiss 1.15.1: an inverted file of 4-bit codes loses vectors that are added after a removal.
#
# IndexIVFPQFastScan supports remove_ids and add_with_ids. After 500 of 5,000 vectors are removed,
# the others are all found by their own vectors. The 500 are added again: ntotal is 5,000, no error
# or warning appears, but most of the 500 are not among the 20 nearest of their own vector, even if
# all lists are visited. The space that remove_ids frees keeps the old codes, and the new ones are
# mixed with them. A new index with the same vectors finds all of them, as does IndexIVFPQ after
# the same removal and addition.
#
# Expected: vectors that are added are found.
#
# Output seen:
#   IndexIVFPQ: 5000 vectors, 500 of 500 found when added, 500 of 500 when added again
#   IndexIVFPQFastScan: 5000 vectors, 500 of 500 found when added, 237 of 500 when added again
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --no-compile "faiss-cpu==1.15.1" "numpy==2.2.6"
cat > check.py <<'PYTHON'
import faiss
import numpy as np

faiss.omp_set_num_threads(1)
VECTORS = np.random.default_rng(0).normal(size=(5000, 32)).astype("float32")
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
REMOVED = np.arange(1000, 1500)


def found(index):
    index.nprobe = index.nlist
    nearest = index.search(VECTORS[REMOVED], 20)[1]
    return int(sum(number in row for number, row in zip(REMOVED, nearest)))


def check(kind):
    quantizer = faiss.IndexFlatIP(32)
    index = kind(quantizer, 32, 40, 32, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(VECTORS)
    index.add_with_ids(VECTORS, np.arange(5000))
    first = found(index)
    assert index.remove_ids(faiss.IDSelectorBatch(REMOVED)) == 500
    index.add_with_ids(VECTORS[REMOVED], REMOVED)
    again = found(index)
    print(
        f"{kind.__name__}: {index.ntotal} vectors, {first} of 500 found when added,"
        f" {again} of 500 when added again"
    )
    return first, again


assert check(faiss.IndexIVFPQ) == (500, 500)
first, again = check(faiss.IndexIVFPQFastScan)
assert first == 500 and again < 300
PYTHON
venv/bin/python check.py 2> errors || { cat errors; exit 1; }
