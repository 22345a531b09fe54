"""Files of a vector index; ``index.json`` is replaced last, so that a reader sees one state."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.memory.index import partition as partitions
from backtalk.memory.index.partition import Partition
from backtalk.memory.index.rows import Rows, delete_unless

_NEW_SHARE = 0.05
"""Share of rows without saved codes above which all codes are written again."""


@dataclass(frozen=True)
class SavedIndex:
    """Contents of ``index.json``."""

    dimension: int
    vectors: str
    """Name of the file of vectors, float32, with room for new rows at its end."""
    rows: str
    """Name of the file of ids and lists."""
    partition: str | None
    """Name of the file of the partition's codes."""
    partition_rows: int
    """Number of rows whose codes are in that file; the others are read from the vectors."""
    trained: int
    """Number of vectors that the partition was trained for."""


def write_index(
    folder: Path,
    rows: Rows,
    partition: Partition | None,
    previous: SavedIndex | None,
    *,
    purged: bool,
    trained: int,
) -> SavedIndex:
    """Write an index into a folder, and return what ``index.json`` says.

    Parameters
    ----------
    folder : Path
        Folder.
    rows : Rows
        Ids and vectors.
    partition : Partition or None
        Lists of the rows.
    previous : SavedIndex or None
        State that the index was loaded from or saved last.
    purged : bool
        True if rows were erased from the partition since.
    trained : int
        Number of vectors that the partition was trained for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token = uuid4().hex[:12]
    same = previous is not None and _read(folder) == previous
    new_vectors = not same or rows.path is None
    vectors = folder / f"vectors-{token}.f32" if new_vectors else rows.path
    assert vectors is not None
    rows.save_vectors(vectors)
    lists = np.empty(0, np.int32) if partition is None else partition.lists[: rows.count]
    np.savez(folder / f"rows-{token}.npz", ids=rows.ids, lists=lists)
    name, size = None, 0
    if partition is not None:
        name = previous.partition if same and previous is not None else None
        size = previous.partition_rows if previous is not None else 0
        retrained = previous is None or previous.trained != trained
        if name is None or purged or retrained or rows.count - size > _NEW_SHARE * rows.count:
            name, size = f"partition-{token}.faiss", rows.count
            partition.save(folder / name)
    saved = SavedIndex(
        rows.dimension, vectors.name, f"rows-{token}.npz", name, size, trained
    )  # fmt: skip
    temporary = folder / f"index-{token}.json"
    temporary.write_text(json.dumps(asdict(saved)), encoding="utf-8")
    temporary.replace(folder / "index.json")
    delete_unless(folder, {saved.vectors, saved.rows, saved.partition or ""})
    return saved


def read_index(folder: Path) -> tuple[Rows, Partition | None, SavedIndex]:
    """Return what :func:`write_index` wrote.

    Raises
    ------
    BacktalkError
        If the folder holds no index.
    """
    while True:
        saved = _read(folder)
        if saved is None:
            raise BacktalkError(
                f"There is no vector index in {folder}", "Write one with VectorIndex.save"
            )
        try:
            return (*_load(folder, saved), saved)
        except FileNotFoundError as error:
            if _read(folder) == saved:
                raise BacktalkError(
                    f"The vector index in {folder} lacks its file {error.filename}",
                    "Delete the folder, and add the vectors again",
                ) from None


def _read(folder: Path) -> SavedIndex | None:
    path = folder / "index.json"
    return SavedIndex(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def _load(folder: Path, saved: SavedIndex) -> tuple[Rows, Partition | None]:
    arrays = np.load(folder / saved.rows)
    ids, lists = arrays["ids"], arrays["lists"]
    rows = Rows.load(folder / saved.vectors, ids, saved.dimension)
    if saved.partition is None or not partitions.is_available():
        return rows, None
    partition = Partition.load(folder / saved.partition, lists[: saved.partition_rows].copy())
    new = np.arange(saved.partition_rows, len(ids))
    new = new[ids[new] >= 0]
    partition.add(new, rows.vectors[new], lists[new].astype(np.int64))
    return rows, partition
