"""Parser of lists, and the repair of their order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from backtalk.worlds.lists.layout import CLOSING, OPENING
from backtalk.worlds.lists.task import ListsTask, WordPair, nearest_order


@dataclass(frozen=True)
class ListWord:
    """Word of a list, ``text[start:end]``."""

    text: str
    """Word in lower case."""
    start: int
    end: int


_WORD = re.compile(r"\w+")
_MAX_CHOICES = 64


def read_words(text: str) -> tuple[ListWord, ...]:
    """Return the words of a list, without "and" and without opening and closing phrases."""
    begin = len(text) - len(text.lstrip())
    begin = begin + len(OPENING) if text.startswith(OPENING, begin) else 0
    stop = len(text.rstrip())
    if text.endswith(CLOSING, begin, stop) and not _WORD.match(text[: stop - len(CLOSING)][-1:]):
        stop -= len(CLOSING)
    return tuple(
        ListWord(result[0].lower(), result.start(), result.end())
        for result in _WORD.finditer(text, begin, stop)
        if result[0] != "and"
    )


def counted_positions(task: ListsTask, words: Sequence[ListWord]) -> tuple[int, ...]:
    """Return the positions of the words that count: each expected word where it fits best.

    Repeated words make several choices possible; the one that satisfies most pairs is taken.
    """
    positions: dict[str, list[int]] = {}
    for index, word in enumerate(words):
        if word.text in task.expected:
            positions.setdefault(word.text, []).append(index)
    choices = list(positions.values())
    if prod(len(choice) for choice in choices) > _MAX_CHOICES:
        choices = [choice[:1] for choice in choices]
    picks = (sorted(pick) for pick in product(*choices))
    return tuple(
        max(
            picks,
            key=lambda pick: count_satisfied(task.pairs, [words[index].text for index in pick]),
        )
    )


def count_satisfied(pairs: Sequence[WordPair], order: Sequence[str]) -> int:
    """Return the number of pairs that an order satisfies."""
    position = {word: index for index, word in enumerate(order)}
    return sum(a in position and b in position and position[a] < position[b] for a, b in pairs)


@dataclass(frozen=True)
class MisorderedRun:
    """Minimal misordered run of a list, by the indices of its first and last word."""

    first: int
    last: int
    right: tuple[str, ...]
    """Right order of the run, including words that are missing in it."""


@dataclass(frozen=True)
class MissingWords:
    """Words missing before the word of that index."""

    index: int
    words: tuple[str, ...]
    where: str
    """Position relative to a neighbour, such as "after fig"."""


@dataclass(frozen=True)
class OrderRepair:
    """Changes that make the order of a list right."""

    runs: tuple[MisorderedRun, ...]
    gaps: tuple[MissingWords, ...]


def order_repair(task: ListsTask, counted: Sequence[str]) -> OrderRepair:
    """Return the changes that put expected words into a right order."""
    order = nearest_order(counted, task.before)
    spans = list(_out_of_order(counted, order))
    block = {
        index: number for number, (i, j) in enumerate(spans) for index in range(i, j + 1)
    }  # index of a word in the list -> index of its run
    index_of = {word: index for index, word in enumerate(order)}
    for word in task.expected:
        if word not in index_of:
            order.insert(_position(task, order, word, index_of, block), word)
    runs = tuple(MisorderedRun(i, j, tuple(_between(order, index_of, i, j))) for i, j in spans)
    mended = {word for run in runs for word in run.right}
    gaps = tuple(_gaps(order, index_of, block, mended))
    return OrderRepair(runs, gaps)


def _out_of_order(counted: Sequence[str], order: Sequence[str]) -> Iterator[tuple[int, int]]:
    first, open_words = 0, set[str]()
    for index, (result, right) in enumerate(zip(counted, order, strict=True)):
        open_words ^= {result}
        open_words ^= {right}
        if not open_words:
            if index > first:
                yield first, index
            first = index + 1


def _position(
    task: ListsTask,
    order: Sequence[str],
    word: str,
    index_of: dict[str, int],
    block: dict[int, int],
) -> int:
    """Return the position for a missing word, outside the misordered runs if possible."""
    low = max((i + 1 for i, other in enumerate(order) if (other, word) in task.before), default=0)
    high = min((i for i, other in enumerate(order) if (word, other) in task.before), default=None)
    high = len(order) if high is None else high

    def within(position: int) -> bool:
        left = next((index_of[w] for w in reversed(order[:position]) if w in index_of), None)
        right = next((index_of[w] for w in order[position:] if w in index_of), None)
        if left is None or right is None:
            return False
        return block.get(left, -1) == block.get(right, -2)

    return next((position for position in range(low, high + 1) if not within(position)), low)


def _between(order: list[str], index_of: dict[str, int], first: int, last: int) -> list[str]:
    at = [index for index, word in enumerate(order) if first <= index_of.get(word, -1) <= last]
    return order[at[0] : at[-1] + 1]


def _gaps(
    order: list[str], index_of: dict[str, int], block: dict[int, int], mended: set[str]
) -> Iterator[MissingWords]:
    missing: list[str] = []
    before: str | None = None
    for word in [*order, None]:
        if word in mended and word not in index_of:
            continue
        if word is not None and word not in index_of:
            missing.append(word)
            continue
        if missing:
            index = len(index_of) if word is None else index_of[word]
            loose = before is None or index_of[before] in block
            anchor = before if word is None or (loose and index in block) or not loose else None
            where = f"before {word}" if anchor is None else f"after {anchor}"
            yield MissingWords(index, tuple(missing), where)
        missing, before = [], word
