"""Number of threads of a model's operations on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SMALL_MODEL = 20_000_000
"""Number of parameters below which one thread is used.

The operations of a small model take less time than its threads take to wait for one another. On a
busy machine with 2 cores, a model of 1.4 million parameters answers ten times as fast with one
thread as with two.
"""

_lock = threading.Lock()
_entered = 0
_previous = 0


@contextmanager
def suitable_threads(model: Any) -> Iterator[None]:
    """Use one thread while a small model runs on a CPU; the default number for other models."""
    small = model.device.type == "cpu" and model.num_parameters() < SMALL_MODEL
    if not small:
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _entered, _previous  # noqa: PLW0603 - the setting of PyTorch is one per process
    with _lock:
        if not _entered:
            _previous = torch.get_num_threads()
            torch.set_num_threads(1)
        _entered += 1


def _leave() -> None:
    global _entered  # noqa: PLW0603 - the setting of PyTorch is one per process
    with _lock:
        _entered -= 1
        if not _entered:
            torch.set_num_threads(_previous)
