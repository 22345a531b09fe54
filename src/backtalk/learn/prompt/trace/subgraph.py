"""Minimal subgraphs: the part of a program's graph by which feedback concerns parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.learn.prompt.computation_graph import ancestors, trainable_paths

if TYPE_CHECKING:
    from backtalk.learn.prompt.trace.nodes import Node


@dataclass(frozen=True, eq=False)
class Subgraph:
    """Nodes on the paths from parameters to an output, with feedback on the output."""

    output: Node
    feedback: str
    nodes: Sequence[Node]
    """Nodes on the paths, in the order in which they were made; the last is the output."""

    @property
    def parameters(self) -> list[Node]:
        """Parameters by which the output can change."""
        return [node for node in self.nodes if node.trainable]

    @property
    def inputs(self) -> list[Node]:
        """Nodes beside the paths that their nodes were made of; no parameter changes them."""
        on_path = {node.position for node in self.nodes}
        beside = {
            one.position: one
            for node in self.nodes
            for one in node.predecessors
            if one.position not in on_path
        }
        return [beside[position] for position in sorted(beside)]


def minimal_subgraph(output: Node, feedback: str) -> Subgraph:
    """Return the smallest graph that connects the parameters of an output with it.

    Cheng, Nie and Swaminathan (2024), "Trace is the next AutoDiff", section 3: the propagator
    collects the nodes between parameters and output. Nodes that no parameter changes are inputs,
    whatever they were made of.

    Parameters
    ----------
    output : Node
        Node that the feedback is about.
    feedback : str
        Words about the output.

    Raises
    ------
    BacktalkError
        If no parameter is part of the output.
    """
    nodes = trainable_paths(ancestors(output))
    if not nodes or nodes[-1] is not output:
        raise BacktalkError(
            f"The node {output.name!r} depends on no parameter",
            "Make it of a node with trainable=True",
        )
    return Subgraph(output, feedback, nodes)
