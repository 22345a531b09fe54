"""Segmentation of texts into steps, lines or sentences, and masks of shared tokens."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import takewhile

from backtalk.learn.finetune.trees import PromptTree, ResponseTokens

_SENTENCE = re.compile(r".+?(?:[.!?]+(?:\s+|$)|$)", re.DOTALL)
_LINE = re.compile(r".*\S.*(?:\s*\n)?|\s+", re.MULTILINE)

Interval = tuple[int, int]
"""Start and end (exclusive) of a part of a sequence."""


def segments(text: str) -> list[str]:
    r"""Return the lines of a text, or the sentences of a single line; joined they are the text.

    >>> segments("One. Two!  Three")
    ['One. ', 'Two!  ', 'Three']
    >>> segments("A. B.\n\nC.")
    ['A. B.\n\n', 'C.']
    """
    lines = _LINE.findall(text)
    return lines if len(lines) > 1 else _SENTENCE.findall(text)


def common_prefix(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the number of first segments that two texts share, up to surrounding whitespace."""
    for index, (segment_a, segment_b) in enumerate(zip(a, b, strict=False)):
        if segment_a.strip() != segment_b.strip():
            return index
    return min(len(a), len(b))


def differences(
    a: Sequence[Hashable], b: Sequence[Hashable]
) -> tuple[list[Interval], list[Interval]]:
    """Return the intervals of each of two sequences that differ from the other sequence.

    For an insertion in one sequence, the interval of the other one is the item at that position;
    at the end of the sequence the interval is empty.

    >>> differences("2+3=5".split(), "2+3=5".split())
    ([], [])
    >>> differences([2, 3, 5, 1], [2, 4, 4, 5, 6, 1])
    ([(1, 2), (3, 4)], [(1, 3), (4, 5)])
    """
    results: tuple[list[Interval], list[Interval]] = ([], [])
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag != "equal":
            results[0].append((i, max(j, min(i + 1, len(a)))))
            results[1].append((k, max(m, min(k + 1, len(b)))))
    return results


def mask_shared_tokens(tree: PromptTree) -> PromptTree:
    """Return a tree of two responses with weight 0 for the tokens that they share."""
    a, b = tree.responses
    intervals = differences(a.tokens, b.tokens)
    return replace(
        tree,
        responses=tuple(
            replace(response, weights=_interval_weights(len(response.tokens), learned))
            for response, learned in zip(tree.responses, intervals, strict=True)
        ),
    )


def _interval_weights(count: int, intervals: Sequence[Interval]) -> tuple[float, ...]:
    inside = {index for start, end in intervals for index in range(start, end)}
    return tuple(float(index in inside) for index in range(count))


def mask_common_prefix(tree: PromptTree) -> PromptTree:
    """Return a tree with weight 0 for the first tokens that all responses share."""
    columns = zip(*(response.tokens for response in tree.responses), strict=False)
    count = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, columns))

    def masked(response: ResponseTokens) -> ResponseTokens:
        weights = response.weights or (1.0,) * len(response.tokens)
        return replace(response, weights=(*(0.0,) * count, *weights[count:]))

    return replace(tree, responses=tuple(map(masked, tree.responses)))
