"""Packages that can also be called as functions: ``backtalk.learn``, ``backtalk.evaluate``."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """Package that, when called, calls the function of its name in :mod:`backtalk.api`.

    ``import backtalk`` offers the functions ``learn`` and ``evaluate``. The import of a subpackage
    binds its name in the parent package, so a program that imports ``backtalk.learn.method`` would
    lose the function ``backtalk.learn``; calling the package does the same as the function.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return getattr(import_module("backtalk.api"), self.__name__.rpartition(".")[2])(
            *args, **kwargs
        )

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, unless the import of a submodule would hide a public name.

        The package ``backtalk.learn`` has a function and a submodule ``method``. The name is the
        function's.
        """
        is_submodule = value is sys.modules.get(f"{self.__name__}.{name}")
        if not (is_submodule and name in self.__dict__.get("__all__", ())):
            super().__setattr__(name, value)


def make_callable(package: str) -> None:
    """Make an imported package callable.

    Parameters
    ----------
    package : str
        Full name of the package.
    """
    sys.modules[package].__class__ = CallablePackage
