"""Lineage of policies as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backtalk.policy import Policy

MAX_DEPTH = 6
"""Maximum depth; deeper descendants are listed without indentation."""


@dataclass
class LineageNode:
    """Policy with its children."""

    policy: Policy
    children: list[LineageNode] = field(default_factory=list)


def lineage_tree(policies: Sequence[Policy]) -> list[LineageNode]:
    """Return policies as trees of parents and children, oldest first.

    A policy whose parent is not among them is a root. Policies deeper than ``MAX_DEPTH`` follow
    their parent at the same level.

    >>> from backtalk.models.spec import EndpointSpec
    >>> from backtalk.policy import Lineage
    >>> plain = Policy(model=EndpointSpec(model="small"))
    >>> made = plain.derive(lineage=Lineage(method="learned", parent=plain.id), system="Be brief.")
    >>> [tree] = lineage_tree([made, plain])
    >>> tree.policy == plain, tree.children[0].policy == made
    (True, True)
    """
    nodes = {policy.id: LineageNode(policy) for policy in policies}
    children: dict[str, list[LineageNode]] = {}
    for node in nodes.values():
        parent = node.policy.lineage.parent
        if parent is not None and parent in nodes:
            children.setdefault(parent, []).append(node)
    roots = [node for node in nodes.values() if node.policy.lineage.parent not in nodes]
    placed: set[str] = set()
    trees: list[LineageNode] = []
    # Lineages may form a cycle; a policy that no root leads to is a root too.
    for root in [*roots, *nodes.values()]:
        _add_subtree(root, trees, children, placed)
    return trees


def _add_subtree(
    root: LineageNode,
    siblings: list[LineageNode],
    children: dict[str, list[LineageNode]],
    placed: set[str],
) -> None:
    stack: list[tuple[LineageNode, list[LineageNode], int]] = [(root, siblings, 1)]
    while stack:
        node, siblings, level = stack.pop()
        if node.policy.id in placed:
            continue
        placed.add(node.policy.id)
        siblings.append(node)
        below = node.children if level < MAX_DEPTH else siblings
        stack += [(child, below, level + 1) for child in reversed(children.get(node.policy.id, []))]
