"""What loading any local model has in common: quiet, told apart by its content, never by code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""The number format of weights."""

_DECIDING = {".safetensors", ".json", ".jinja", ".txt", ".model"}


def folder_id(folder: Path) -> str:
    """Return the id of a model's folder: what its weights, tokenizer and settings determine.

    All of it is read, once a process for files that do not change.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.suffix in _DECIDING
    )
    stamps = tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _digest(folder, stamps)


@lru_cache(maxsize=64)
def _digest(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    digest = blake2b(digest_size=16)
    for path, size, _ in stamps:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def quietly() -> Iterator[None]:
    """Load without progress bars, which are not the library's to print."""
    logging = import_module("transformers.utils.logging")  # loads torch
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
