"""Nodes: values that a program computes with, each of which knows what it was made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backtalk.errors import BacktalkError
from backtalk.learn.prompt.computation_graph import next_position
from backtalk.learn.prompt.trace.python_operators import PythonOperators
from backtalk.learn.prompt.trace.subgraph import Subgraph, minimal_subgraph


@dataclass
class Recorder:
    """Nodes that a traced function reads besides its arguments, and those made inside it."""

    reads: dict[int, Node] = field(default_factory=dict)
    first: int = field(default_factory=next_position)

    def outside(self) -> list[Node]:
        """Return the nodes that were read and that existed before the call."""
        return [node for position, node in self.reads.items() if position < self.first]


RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
"""Recorder of the traced function that is running."""


class Node(PythonOperators):
    """Value in the graph of a program.

    Operators of Python on nodes make nodes: arithmetic, comparisons and indexing. A traced
    function takes nodes and returns one; see :func:`~backtalk.learn.prompt.trace.traced`. Make a
    node with :func:`node`.

    Parameters
    ----------
    value : Any
        Value.
    name : str
        Name in the pseudo-program that an optimiser reads.
    description : str, default ""
        Meaning of the value, in a few words.
    trainable : bool, default False
        True for a parameter, which an optimiser may change.
    kind : Any, optional
        Type of a parameter, which pydantic checks; default: the type of its value.
    inputs : Mapping[str, Node], optional
        Nodes that it was made of, by the name of the argument.
    failed : bool, default False
        True if the value is the text of an exception.
    """

    def __init__(
        self,
        value: Any,
        *,
        name: str,
        description: str = "",
        trainable: bool = False,
        kind: Any = None,
        inputs: Mapping[str, Node] | None = None,
        failed: bool = False,
    ) -> None:
        self.name = name
        self.description = description
        self.trainable = trainable
        self.failed = failed
        self.inputs = dict(inputs or {})
        self.position = next_position()
        self.subgraphs: list[Subgraph] = []
        """Subgraphs with feedback since the last step of an optimiser."""
        self._adapter = TypeAdapter(type(value) if kind is None else kind) if trainable else None
        self._value = self.check(value) if trainable else value

    @property
    def predecessors(self) -> tuple[Node, ...]:
        """Nodes that it was made of."""
        return tuple(self.inputs.values())

    @property
    def value(self) -> Any:
        """Value; a traced function that reads it has the node as an input."""
        recorder = RECORDER.get()
        if recorder is not None:
            recorder.reads[self.position] = self
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = self.check(value)

    @property
    def json_value(self) -> Any:
        """Value of a parameter as JSON."""
        assert self._adapter is not None
        return self._adapter.dump_python(self._value, mode="json")

    @property
    def constraint(self) -> str:
        """JSON schema of the values of a parameter."""
        return "" if self._adapter is None else json.dumps(self._adapter.json_schema())

    def check(self, value: Any) -> Any:
        """Return a value of a parameter in its type.

        Raises
        ------
        BacktalkError
            If the node is no parameter, or the value is not of its type or no JSON value.
        """
        if self._adapter is None:
            raise BacktalkError(
                f"The node {self.name!r} is not a parameter", "Make it with trainable=True"
            )
        try:
            result = self._adapter.validate_python(value)
            json.dumps(self._adapter.dump_python(result, mode="json"), allow_nan=False)
        except (ValidationError, ValueError, TypeError) as error:
            details = (
                "; ".join(item["msg"] for item in error.errors())
                if isinstance(error, ValidationError)
                else str(error)
            )
            raise BacktalkError(
                f"{value!r} is no value of the parameter {self.name!r}: {details}",
                "Give a value of its type that JSON can represent",
            ) from None
        return result

    def backward(self, feedback: str) -> Subgraph:
        """Propagate feedback to the parameters that this value was made of.

        Feedback on several outputs adds up until an optimiser takes a step: a batch.

        Parameters
        ----------
        feedback : str
            Words about the value: of a person, a check, or the text of an exception.

        Returns
        -------
        Subgraph
            Minimal subgraph from the parameters to this value, with the feedback.

        Raises
        ------
        BacktalkError
            If no parameter is part of this value.
        """
        subgraph = minimal_subgraph(self, feedback)
        for parameter in subgraph.parameters:
            parameter.subgraphs.append(subgraph)
        return subgraph

    def __repr__(self) -> str:
        return f"<{'parameter' if self.trainable else 'node'} {self.name}: {self._value!r}>"

    def __format__(self, specification: str) -> str:
        raise BacktalkError(
            f"The node {self.name!r} is in an f-string, which would not be traced",
            "Use join_text(...) for a traced text, or node.value for a plain one",
        )

    def __bool__(self) -> bool:
        return bool(self.value)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self.value, Mapping):
            return iter(self.value)
        return (self[index] for index in range(len(self.value)))

    def __contains__(self, item: Any) -> bool:
        return (item.value if isinstance(item, Node) else item) in self.value


def node(
    value: Any,
    name: str = "value",
    *,
    description: str = "",
    trainable: bool = False,
    kind: Any = None,
) -> Node:
    """Return a node with a value; a node is returned unchanged.

    Parameters
    ----------
    value : Any
        Value.
    name : str, default "value"
        Name in the pseudo-program that an optimiser reads.
    description : str, default ""
        Meaning of the value, in a few words; for a parameter also conditions on it.
    trainable : bool, default False
        If true, the node is a parameter, which an optimiser may change.
    kind : Any, optional
        Type of a parameter, such as ``Annotated[float, Field(ge=0, le=1)]``. Values that an
        optimiser suggests are checked by it. Default: the type of the value.

    Raises
    ------
    BacktalkError
        If the name is no Python identifier, or a parameter is no JSON value of its type.

    Examples
    --------
    >>> price = node(3, "price", trainable=True)
    >>> total = price * 2 + 1
    >>> total.value
    7
    >>> [one.name for one in total.backward("Too low.").parameters]
    ['price']
    """
    if isinstance(value, Node):
        return value
    if not name.isidentifier():
        raise BacktalkError(
            f"{name!r} is no name of a node", "Use letters, digits and underscores, as in Python"
        )
    return Node(value, name=name, description=description, trainable=trainable, kind=kind)
