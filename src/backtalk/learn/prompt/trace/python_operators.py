"""Operators of Python on nodes, which make nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtalk.learn.prompt.trace.nodes import Node


class PythonOperators:
    """Arithmetic, comparisons, indexing and calls of methods, traced.

    As in PyTorch, ``==`` compares values and makes a node; compare nodes themselves with ``is``.
    """

    def call(self, method: str, *arguments: Any) -> Node:
        """Return the result of a method of the value, such as ``node.call("strip")``.

        Parameters
        ----------
        method : str
            Name of the method.
        *arguments : Any
            Positional arguments.
        """
        described = f"Call the method {method} of the first argument."
        return _apply(
            lambda value, *rest: getattr(value, method)(*rest),
            {"value": self, **{f"argument{i}": one for i, one in enumerate(arguments, 1)}},
            name=method,
            description=described,
        )

    __hash__ = object.__hash__

    def __getitem__(self, key: Any) -> Node:
        return _binary(operator.getitem, self, key, "Return item b of a.")

    def __eq__(self, other: object) -> Any:
        return _binary(operator.eq, self, other, "Return a == b.")

    def __ne__(self, other: object) -> Any:
        return _binary(operator.ne, self, other, "Return a != b.")

    def __lt__(self, other: Any) -> Node:
        return _binary(operator.lt, self, other, "Return a < b.")

    def __le__(self, other: Any) -> Node:
        return _binary(operator.le, self, other, "Return a <= b.")

    def __gt__(self, other: Any) -> Node:
        return _binary(operator.gt, self, other, "Return a > b.")

    def __ge__(self, other: Any) -> Node:
        return _binary(operator.ge, self, other, "Return a >= b.")

    def __add__(self, other: Any) -> Node:
        return _binary(operator.add, self, other, "Return a + b.")

    def __radd__(self, other: Any) -> Node:
        return _binary(operator.add, other, self, "Return a + b.")

    def __sub__(self, other: Any) -> Node:
        return _binary(operator.sub, self, other, "Return a - b.")

    def __rsub__(self, other: Any) -> Node:
        return _binary(operator.sub, other, self, "Return a - b.")

    def __mul__(self, other: Any) -> Node:
        return _binary(operator.mul, self, other, "Return a * b.")

    def __rmul__(self, other: Any) -> Node:
        return _binary(operator.mul, other, self, "Return a * b.")

    def __truediv__(self, other: Any) -> Node:
        return _binary(operator.truediv, self, other, "Return a / b.")

    def __rtruediv__(self, other: Any) -> Node:
        return _binary(operator.truediv, other, self, "Return a / b.")

    def __floordiv__(self, other: Any) -> Node:
        return _binary(operator.floordiv, self, other, "Return a // b.")

    def __mod__(self, other: Any) -> Node:
        return _binary(operator.mod, self, other, "Return a % b.")

    def __pow__(self, other: Any) -> Node:
        return _binary(operator.pow, self, other, "Return a ** b.")

    def __neg__(self) -> Node:
        return _apply(operator.neg, {"a": self}, name="neg", description="Return -a.")

    def __abs__(self) -> Node:
        return _apply(abs, {"a": self}, name="abs", description="Return the absolute value of a.")


def _binary(function: Callable[[Any, Any], Any], a: Any, b: Any, description: str) -> Node:
    name = function.__name__
    return _apply(function, {"a": a, "b": b}, name=name, description=description)


def _apply(
    function: Callable[..., Any], arguments: Mapping[str, Any], *, name: str, description: str
) -> Node:
    from backtalk.learn.prompt.trace.application import apply  # noqa: PLC0415 - it imports nodes

    return apply(function, arguments, name=name, description=description)
