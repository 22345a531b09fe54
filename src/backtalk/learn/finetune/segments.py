"""Texts as steps, lines or sentences, and the tokens in which responses differ."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import takewhile

from backtalk.learn.finetune.trees import PromptTree, ResponseTokens

_SENTENCE = re.compile(r".+?(?:[.!?]+(?:\s+|$)|$)", re.DOTALL)
_LINE = re.compile(r".*\S.*(?:\s*\n)?|\s+", re.MULTILINE)
Stretch = tuple[int, int]
"""Where something begins in a sequence, and where it ends."""


def segments(text: str) -> list[str]:
    r"""Return the lines of a text, or the sentences of its only line; joined they are the text.

    >>> pieces("One. Two!  Three")
    ['One. ', 'Two!  ', 'Three']
    >>> pieces("A. B.\n\nC.")
    ['A. B.\n\n', 'C.']
    """
    lines = _LINE.findall(text)
    return lines if len(lines) > 1 else _SENTENCE.findall(text)


def common_prefix(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many first pieces two texts share, whatever the space around them."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a.strip() != b.strip():
            return index
    return min(len(one), len(other))


def differences(
    one: Sequence[Hashable], other: Sequence[Hashable]
) -> tuple[list[Stretch], list[Stretch]]:
    """Return the stretches of each of two sequences that the other one has otherwise.

    Where items are only in one of them, the other one differs in the item that stands in their
    place; at its end that is nothing, an empty stretch.

    >>> differences("2+3=5".split(), "2+3=5".split())
    ([], [])
    >>> differences([2, 3, 5, 1], [2, 4, 4, 5, 6, 1])
    ([(1, 2), (3, 4)], [(1, 3), (4, 5)])
    """
    results: tuple[list[Stretch], list[Stretch]] = ([], [])
    for tag, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag != "equal":
            results[0].append((i, max(j, min(i + 1, len(one)))))
            results[1].append((k, max(m, min(k + 1, len(other)))))
    return results


def mask_shared_tokens(tree: PromptTree) -> PromptTree:
    """Return a tree of two responses of which only the tokens that differ are learned."""
    one, other = tree.branches
    learned = differences(one.tokens, other.tokens)
    return replace(
        tree,
        branches=tuple(
            replace(branch, weights=_weights(len(branch.tokens), places))
            for branch, places in zip(tree.branches, learned, strict=True)
        ),
    )


def _weights(count: int, learned: Sequence[Stretch]) -> tuple[float, ...]:
    inside = {place for start, end in learned for place in range(start, end)}
    return tuple(float(place in inside) for place in range(count))


def mask_common_prefix(tree: PromptTree) -> PromptTree:
    """Return a tree of which the tokens that all responses begin with have weight 0."""
    together = zip(*(branch.tokens for branch in tree.branches), strict=False)
    count = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, together))

    def rest(branch: ResponseTokens) -> ResponseTokens:
        known = branch.weights or (1.0,) * len(branch.tokens)
        return replace(branch, weights=(*(0.0,) * count, *known[count:]))

    return replace(tree, branches=tuple(map(rest, tree.branches)))
