"""Modules that are imported on first use, so that methods can be listed without them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
else:

    class LazyModule:
        """Module that is imported at the first access of an attribute."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self._name), name)

    np = LazyModule("numpy")
    torch = LazyModule("torch")

__all__ = ["np", "torch"]
