"""Application of functions to nodes, with exceptions as nodes that feedback can be about."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.learn.prompt.trace.nodes import Node
from backtalk.learn.prompt.trace.subgraph import Subgraph


class TracedError(BacktalkError):
    """Failure of a traced function; its text is feedback.

    Parameters
    ----------
    node : Node
        Node of the exception. ``error.node.backward(str(error.node.value))`` propagates it.
    """

    def __init__(self, node: Node) -> None:
        super().__init__(
            f"{node.name} failed: {node.value}", "Call backward() of the error to learn from it"
        )
        self.node = node

    def backward(self, feedback: str = "") -> Subgraph:
        """Propagate the text of the exception to the parameters, after further feedback.

        Parameters
        ----------
        feedback : str, default ""
            Words beside the text of the exception.
        """
        return self.node.backward(f"{feedback}\n{self.node.value}".strip())


def failure(
    error: Exception, *, name: str, description: str, inputs: Mapping[str, Node]
) -> TracedError:
    """Return the error of a traced function that failed.

    Parameters
    ----------
    error : Exception
        Exception of the function.
    name : str
        Name of the function.
    description : str
        Meaning of the function.
    inputs : Mapping[str, Node]
        Its arguments.
    """
    lines = traceback.format_exception_only(error)
    text = "".join(lines).strip()
    return TracedError(Node(text, name=name, description=description, inputs=inputs, failed=True))


def apply(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    name: str,
    description: str,
) -> Node:
    """Return the result of a function of plain values as a node made of its arguments.

    Parameters
    ----------
    function : Callable
        Function of the plain values, in order.
    arguments : Mapping[str, Any]
        Nodes and plain values, by name.
    name : str
        Name of the result.
    description : str
        Meaning of the function, in a few words.

    Raises
    ------
    TracedError
        If the function fails.
    """
    inputs = as_nodes(arguments)
    try:
        value = function(*(one.value for one in inputs.values()))
    except Exception as error:
        raise failure(error, name=name, description=description, inputs=inputs) from error
    return Node(value, name=name, description=description, inputs=inputs)


def as_nodes(arguments: Mapping[str, Any]) -> dict[str, Node]:
    """Return arguments as nodes; a list, tuple or dictionary that holds nodes becomes one."""
    return {key: _as_node(value, key) for key, value in arguments.items()}


def _as_node(value: Any, name: str) -> Node:
    if isinstance(value, Node):
        return value
    parts = _nodes_inside(value)
    inputs = {f"part{index}": part for index, part in enumerate(parts, 1)}
    described = "Put the parts together." if parts else ""
    return Node(plain(value), name=name, description=described, inputs=inputs)


def plain(value: Any) -> Any:
    """Return a value without nodes: those in lists, tuples and dictionaries become values."""
    if isinstance(value, Node):
        return value.value
    if not _nodes_inside(value):
        return value
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return type(value)(plain(one) for one in value)


def _nodes_inside(value: Any) -> list[Node]:
    if isinstance(value, Node):
        return [value]
    if type(value) is dict:
        value = list(value.values())
    if type(value) in {list, tuple}:
        return [node for one in value for node in _nodes_inside(one)]
    return []
