"""Which policy was made from which, as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backtalk.policy import Policy

DEEPEST = 6
"""Below this level what follows is listed, not indented: a hundred rounds are one list."""


@dataclass
class Node:
    """A policy with those that were made from it."""

    policy: Policy
    children: list[Node] = field(default_factory=list)


def lineage_tree(policies: Sequence[Policy]) -> list[Node]:
    """Return policies under those that they were made from, the oldest first.

    A policy whose parent is not among them stands at the top. What lies deeper than ``DEEPEST``
    stands beside its parent, behind it.

    >>> from backtalk.models.spec import EndpointSpec
    >>> from backtalk.policy import Lineage
    >>> plain = Policy(model=EndpointSpec(model="small"))
    >>> made = plain.derive(lineage=Lineage(method="learned", parent=plain.id), system="Be brief.")
    >>> [tree] = lineage_tree([made, plain])
    >>> tree.policy == plain, tree.children[0].policy == made
    (True, True)
    """
    nodes = {policy.id: Node(policy) for policy in policies}
    children: dict[str, list[Node]] = {}
    for node in nodes.values():
        parent = node.policy.lineage.parent
        if parent is not None and parent in nodes:
            children.setdefault(parent, []).append(node)
    tops = [node for node in nodes.values() if node.policy.lineage.parent not in nodes]
    placed: set[str] = set()
    results: list[Node] = []
    # Two policies may each claim to be the other's parent; what no top leads to is a top too.
    for top in [*tops, *nodes.values()]:
        _place(top, results, children, placed)
    return results


def _place(top: Node, found: list[Node], children: dict[str, list[Node]], placed: set[str]) -> None:
    waiting: list[tuple[Node, list[Node], int]] = [(top, found, 1)]
    while waiting:
        node, among, level = waiting.pop()
        if node.policy.id in placed:
            continue
        placed.add(node.policy.id)
        among.append(node)
        below = node.children if level < DEEPEST else among
        waiting += [
            (child, below, level + 1) for child in reversed(children.get(node.policy.id, []))
        ]
