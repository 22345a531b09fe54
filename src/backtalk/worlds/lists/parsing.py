"""Reading an answer: its words, which of them count, and what would put them right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from backtalk.worlds.lists.layout import CLOSING, OPENING
from backtalk.worlds.lists.task import ListsTask, Pair, nearest_order


@dataclass(frozen=True)
class Word:
    """A word of an answer, ``text[start:end]``."""

    said: str
    """In small letters."""
    start: int
    end: int


_WORD = re.compile(r"\w+")
_MOST_CHOICES = 64


def read_words(text: str) -> tuple[Word, ...]:
    """Return the words of a list; an "and" between them, its first and last phrase are none."""
    begin = len(text) - len(text.lstrip())
    begin = begin + len(OPENING) if text.startswith(OPENING, begin) else 0
    stop = len(text.rstrip())
    if text.endswith(CLOSING, begin, stop) and not _WORD.match(text[: stop - len(CLOSING)][-1:]):
        stop -= len(CLOSING)
    return tuple(
        Word(result[0].lower(), result.start(), result.end())
        for result in _WORD.finditer(text, begin, stop)
        if result[0] != "and"
    )


def which_count(task: ListsTask, words: Sequence[Word]) -> tuple[int, ...]:
    """Return which of the words make up the list: every wanted one, where it fits best."""
    places: dict[str, list[int]] = {}
    for index, word in enumerate(words):
        if word.said in task.wanted:
            places.setdefault(word.said, []).append(index)
    choices = list(places.values())
    if prod(len(choice) for choice in choices) > _MOST_CHOICES:
        choices = [choice[:1] for choice in choices]
    picks = (sorted(pick) for pick in product(*choices))
    return tuple(
        max(picks, key=lambda pick: count_right(task.pairs, [words[index].said for index in pick]))
    )


def count_right(pairs: Sequence[Pair], order: Sequence[str]) -> int:
    """Return how many of the pairs an order fulfils."""
    place = {word: index for index, word in enumerate(order)}
    return sum(a in place and b in place and place[a] < place[b] for a, b in pairs)


@dataclass(frozen=True)
class Stretch:
    """A smallest stretch of the list that is out of order: its words from first to last."""

    first: int
    last: int
    right: tuple[str, ...]
    """What it should be, with the words that are missing within."""


@dataclass(frozen=True)
class Gap:
    """Words that are missing before the list's word of that index."""

    index: int
    words: tuple[str, ...]
    where: str
    """Beside which word: "after fig"."""


@dataclass(frozen=True)
class Repair:
    """What puts the order of a list right."""

    stretches: tuple[Stretch, ...]
    gaps: tuple[Gap, ...]


def repair(task: ListsTask, kept: Sequence[str]) -> Repair:
    """Return what puts these words, each of which is wanted, into a right order."""
    order = nearest_order(kept, task.before)
    spans = list(_out_of_order(kept, order))
    block = {
        index: number for number, (i, j) in enumerate(spans) for index in range(i, j + 1)
    }  # a word's index in the list, to the stretch it is in
    index_of = {word: index for index, word in enumerate(order)}
    for word in task.wanted:
        if word not in index_of:
            order.insert(_place(task, order, word, index_of, block), word)
    stretches = tuple(Stretch(i, j, tuple(_between(order, index_of, i, j))) for i, j in spans)
    mended = {word for stretch in stretches for word in stretch.right}
    gaps = tuple(_gaps(order, index_of, block, mended))
    return Repair(stretches, gaps)


def _out_of_order(kept: Sequence[str], order: Sequence[str]) -> Iterator[tuple[int, int]]:
    first, open_words = 0, set[str]()
    for index, (result, right) in enumerate(zip(kept, order, strict=True)):
        open_words ^= {result}
        open_words ^= {right}
        if not open_words:
            if index > first:
                yield first, index
            first = index + 1


def _place(
    task: ListsTask,
    order: Sequence[str],
    word: str,
    index_of: dict[str, int],
    block: dict[int, int],
) -> int:
    """Return where a missing word may go, outside the stretches out of order if possible."""
    low = max((i + 1 for i, other in enumerate(order) if (other, word) in task.before), default=0)
    high = min((i for i, other in enumerate(order) if (word, other) in task.before), default=None)
    high = len(order) if high is None else high

    def within(place: int) -> bool:
        left = next((index_of[w] for w in reversed(order[:place]) if w in index_of), None)
        right = next((index_of[w] for w in order[place:] if w in index_of), None)
        if left is None or right is None:
            return False
        return block.get(left, -1) == block.get(right, -2)

    return next((place for place in range(low, high + 1) if not within(place)), low)


def _between(order: list[str], index_of: dict[str, int], first: int, last: int) -> list[str]:
    at = [index for index, word in enumerate(order) if first <= index_of.get(word, -1) <= last]
    return order[at[0] : at[-1] + 1]


def _gaps(
    order: list[str], index_of: dict[str, int], block: dict[int, int], mended: set[str]
) -> Iterator[Gap]:
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
            behind = before if word is None or (loose and index in block) or not loose else None
            where = f"before {word}" if behind is None else f"after {behind}"
            yield Gap(index, tuple(missing), where)
        missing, before = [], word
