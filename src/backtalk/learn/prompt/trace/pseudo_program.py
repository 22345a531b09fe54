"""Pseudo-programs: subgraphs as text, from which a model infers how values should change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.learn.prompt.meta_prompts import shorten
from backtalk.learn.prompt.trace.nodes import Node
from backtalk.learn.prompt.trace.subgraph import Subgraph


@dataclass(frozen=True, eq=False)
class PseudoProgram:
    """Program of one execution or of a batch, with its values and feedback.

    Cheng, Nie and Swaminathan (2024), "Trace is the next AutoDiff", section 4: the sections are
    those of its problem template.
    """

    parameters: Mapping[str, Node]
    """Parameters by their name in the program."""
    code: str
    """One line for each call, in the order of execution."""
    documentation: str
    constraints: str
    inputs: str
    others: str
    outputs: str
    feedback: str

    @property
    def variables(self) -> str:
        """Present values of the parameters."""
        return describe_values({name: one.value for name, one in self.parameters.items()})

    @property
    def text(self) -> str:
        """Sections with their headings; empty ones are left out."""
        sections = {
            "Code": self.code,
            "Documentation": self.documentation,
            "Variables": self.variables,
            "Constraints": self.constraints,
            "Inputs": self.inputs,
            "Others": self.others,
            "Outputs": self.outputs,
            "Feedback": self.feedback,
        }
        return "\n\n".join(f"#{title}\n{body}" for title, body in sections.items() if body)

    @property
    def text_without_trace(self) -> str:
        """Sections without the execution: parameters, outputs and feedback."""
        sections = {
            "Variables": self.variables,
            "Constraints": self.constraints,
            "Outputs": self.outputs,
            "Feedback": self.feedback,
        }
        return "\n\n".join(f"#{title}\n{body}" for title, body in sections.items() if body)


def pseudo_program(subgraphs: Sequence[Subgraph]) -> PseudoProgram:
    """Return the program of subgraphs, in which each node occurs once.

    Parameters
    ----------
    subgraphs : sequence of Subgraph
        Subgraphs with feedback: one for each output of a batch.
    """
    nodes = _distinct([node for one in subgraphs for node in one.nodes])
    inputs = _distinct([node for one in subgraphs for node in one.inputs])
    outputs = {one.output.position for one in subgraphs}
    names = _names([*inputs, *nodes])
    calls = [node for node in nodes if not node.trainable]
    parameters = [node for node in nodes if node.trainable]
    return PseudoProgram(
        parameters={names[node.position]: node for node in parameters},
        code="\n".join(_call(node, names) for node in calls),
        documentation="\n".join(
            dict.fromkeys(f"[{node.name}] {node.description}" for node in calls)
        ),
        constraints="\n".join(_constraint(node, names) for node in parameters),
        inputs=_values(inputs, names),
        others=_values([node for node in calls if node.position not in outputs], names),
        outputs=_values([node for node in calls if node.position in outputs], names),
        feedback="\n".join(
            one.feedback if len(subgraphs) == 1 else f"{names[one.output.position]}: {one.feedback}"
            for one in subgraphs
        ),
    )


def describe_values(values: Mapping[str, Any]) -> str:
    """Return values as assignments; texts of several lines stand between triple quotes."""
    return "\n".join(f"{name} = {_quote(value)}" for name, value in values.items())


def _quote(value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        return f'"""\n{value}\n"""'
    return repr(value)


def _distinct(nodes: Sequence[Node]) -> list[Node]:
    by_position = {node.position: node for node in nodes}
    return [by_position[position] for position in sorted(by_position)]


def _names(nodes: Sequence[Node]) -> dict[int, str]:
    """Return the name of each node by position: parameters keep theirs, others get numbers."""
    names: dict[int, str] = {}
    used: dict[str, int] = {}
    for node in sorted(nodes, key=lambda one: (not one.trainable, one.position)):
        count = used.get(node.name, 0)
        name = node.name if node.trainable and not count else f"{node.name}{count + 1}"
        while name in names.values():
            count += 1
            name = f"{node.name}{count + 1}"
        used[node.name] = count + 1
        names[node.position] = name
    return names


def _call(node: Node, names: Mapping[int, str]) -> str:
    arguments = ", ".join(f"{key}={names[one.position]}" for key, one in node.inputs.items())
    line = f"{names[node.position]} = {node.name}({arguments})"
    return f"{line}  # raised an exception" if node.failed else line


def _constraint(node: Node, names: Mapping[int, str]) -> str:
    parts = (node.constraint, node.description)
    return f"{names[node.position]}: {' '.join(part for part in parts if part)}"


def _values(nodes: Sequence[Node], names: Mapping[int, str]) -> str:
    return "\n".join(f"{names[node.position]} = {shorten(_quote(node.value))}" for node in nodes)
