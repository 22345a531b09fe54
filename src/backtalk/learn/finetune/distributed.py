"""Data-parallel training with accelerate, on one process or several."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Distributed:
    """Process group of a training run: one process, or those of ``accelerate launch``.

    Parameters
    ----------
    device : torch.device
        Device of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self.world_size, self.rank = 1, 0
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator  # noqa: PLC0415 - only where it is needed

            self._accelerator = Accelerator(cpu=device.type == "cpu")
            self.world_size = self._accelerator.num_processes
            self.rank = self._accelerator.process_index

    @property
    def is_main(self) -> bool:
        """True in the process that writes files."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are averaged over the processes."""
        if self._accelerator is None:
            return module
        prepared: nn.Module = self._accelerator.prepare(module)
        return prepared

    @contextmanager
    def accumulate(self, module: nn.Module, *, last: bool) -> Iterator[None]:
        """Exchange gradients only in the last micro-batch of a step."""
        no_sync = self._accelerator is not None and not last
        with self._accelerator.no_sync(module) if no_sync else nullcontext():
            yield

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        if self._accelerator is None:
            return value
        result: Tensor = self._accelerator.reduce(value, reduction="sum")
        return result

    def all_gather_object(self, item: T) -> list[T]:
        """Return the objects of all processes, in order of rank."""
        if self._accelerator is None:
            return [item]
        from accelerate.utils import gather_object  # noqa: PLC0415 - only where it is needed

        results: list[T] = gather_object([item])
        return results
