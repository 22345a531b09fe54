"""One process or several: what the trainer asks of accelerate."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Distributed:
    """The processes that train together: one, or those that ``accelerate launch`` started.

    Parameters
    ----------
    device : torch.device
        Where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self.count, self.rank = 1, 0
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator  # noqa: PLC0415 - only where it is needed

            self._accelerator = Accelerator(cpu=device.type == "cpu")
            self.count = self._accelerator.num_processes
            self.rank = self._accelerator.process_index

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are the mean over the processes."""
        if self._accelerator is None:
            return module
        prepared: nn.Module = self._accelerator.prepare(module)
        return prepared

    @contextmanager
    def accumulate(self, module: nn.Module, *, last: bool) -> Iterator[None]:
        """Exchange gradients after the last part of a step only."""
        apart = self._accelerator is not None and not last
        with self._accelerator.no_sync(module) if apart else nullcontext():
            yield

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over the processes."""
        if self._accelerator is None:
            return value
        result: Tensor = self._accelerator.reduce(value, reduction="sum")
        return result

    def all_gather_object(self, item: T) -> list[T]:
        """Return what each of the processes brought."""
        if self._accelerator is None:
            return [item]
        from accelerate.utils import gather_object  # noqa: PLC0415 - only where it is needed

        results: list[T] = gather_object([item])
        return results
