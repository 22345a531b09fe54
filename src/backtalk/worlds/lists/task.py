"""Tasks of the lists world: requests with their expected words and order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

from backtalk.worlds.world import Rng

ListTaskKind = Literal["alphabet", "word", "letter", "chores", "reverse", "length"]
WordPair = tuple[str, str]
"""Two words; the first must come before the second."""

WORDS = (
    *("ant", "apple", "ball", "boat", "bread", "candle", "cat", "cup", "dog", "door", "ear"),
    *("egg", "fig", "fish", "flower", "glass", "goat", "hat", "horse", "ice", "island"),
    *("jacket", "jam", "key", "kitchen", "kiwi", "lamp", "lemon", "milk", "moon", "needle"),
    *("nut", "orange", "owl", "pear", "pen", "plum", "queen", "ring", "rose", "salt", "spoon"),
    *("sun", "tea", "tree", "umbrella", "uncle", "vase", "violin", "window", "wolf", "yak"),
    *("yarn", "zebra"),
)
CHORES = (
    *("bake", "call", "clean", "cook", "dig", "drive", "dry", "eat", "fold", "iron", "mop"),
    *("pack", "paint", "plant", "read", "rest", "shop", "sweep", "walk", "wash", "water"),
    "write",
)

_HEADS: dict[ListTaskKind, str] = {
    "alphabet": "Sort by the alphabet",
    "reverse": "Sort from z to a",
    "length": "Sort by length",
    "word": "Take out the word {target}",
    "letter": "Take out every word that begins with {target}",
    "chores": "Order the chores",
}
_SORTS: tuple[ListTaskKind, ...] = ("alphabet", "reverse", "length")


@dataclass(frozen=True)
class ListsTask:
    """Words with an instruction to sort, remove or order them."""

    kind: ListTaskKind
    words: tuple[str, ...]
    """Words of the request, in its order; chores in the order of their first mention."""
    target: str = ""
    """Word to remove, or first letter of the words to remove."""
    constraints: tuple[WordPair, ...] = ()
    """Pairs of chores in their required order."""

    @property
    def text(self) -> str:
        """Text of the request."""
        return f"{self.head}: {self.items}."

    @property
    def head(self) -> str:
        """Instruction of the request."""
        return _HEADS[self.kind].format(target=self.target)

    @property
    def items(self) -> str:
        """Words or constraints as the request lists them."""
        if self.kind == "chores":
            return "; ".join(f"{first} before {second}" for first, second in self.constraints)
        return ", ".join(self.words)

    @cached_property
    def banned(self) -> frozenset[str]:
        """Words to remove."""
        if self.kind == "word":
            return frozenset({self.target})
        if self.kind == "letter":
            return frozenset(word for word in self.words if word.startswith(self.target))
        return frozenset()

    @cached_property
    def expected(self) -> tuple[str, ...]:
        """Words of the answer, in a right order."""
        match self.kind:
            case "alphabet" | "reverse":
                return tuple(sorted(self.words, reverse=self.kind == "reverse"))
            case "length":
                return tuple(sorted(self.words, key=len))
            case "chores":
                return tuple(nearest_order(self.words, _transitive_closure(self.constraints)))
            case _:
                return tuple(word for word in self.words if word not in self.banned)

    @cached_property
    def pairs(self) -> tuple[WordPair, ...]:
        """Pairs that a right order satisfies; the score is the share satisfied."""
        if self.kind == "chores":
            return self.constraints
        pairs = combinations(self.expected, 2)
        return tuple(p for p in pairs if self.kind != "length" or len(p[0]) != len(p[1]))

    @cached_property
    def before(self) -> frozenset[WordPair]:
        """Transitive closure of the pairs."""
        return _transitive_closure(self.pairs)


def nearest_order(words: Sequence[str], before: frozenset[WordPair]) -> list[str]:
    """Return the words in a right order, always the first of those allowed next."""
    remaining = list(words)
    order = []
    while remaining:
        free = (w for w in remaining if not any((other, w) in before for other in remaining))
        order.append(next(free))
        remaining.remove(order[-1])
    return order


def _transitive_closure(pairs: Sequence[WordPair]) -> frozenset[WordPair]:
    closed = set(pairs)
    while more := {(a, d) for a, b in closed for c, d in closed if b == c} - closed:
        closed |= more
    return frozenset(closed)


def draw_task(rng: Rng, *, unusual: bool) -> ListsTask:
    """Return a random task; an unusual one sorts from z to a, or by length."""
    if unusual:
        kind: ListTaskKind = "reverse" if rng.random() < 0.5 else "length"
        return ListsTask(kind, _draw_sort_words(kind, rng))
    draw = rng.random()
    if draw < 0.4:
        return ListsTask("alphabet", _draw_sort_words("alphabet", rng))
    return _draw_removal_task(rng) if draw < 0.7 else _draw_chores_task(rng)


def _draw_sort_words(kind: ListTaskKind, rng: Rng) -> tuple[str, ...]:
    """Return unsorted words, mostly with different first letters."""
    count = int(rng.integers(3, 5 if kind == "length" else 7))
    mixed = rng.random() < 0.2
    while True:
        words = _sample(WORDS, count, rng)
        key = {len(w) if kind == "length" else w[0] for w in words}
        unlike = len(key) == count or (mixed and kind != "length")
        if unlike and ListsTask(kind, words).expected != words:
            return words


def _draw_removal_task(rng: Rng) -> ListsTask:
    """Return a task to remove words."""
    count = int(rng.integers(2, 5))
    if rng.random() < 0.5:
        target, *others = _sample(WORDS, count + 1, rng)
        out = [target] * (2 if rng.random() < 0.3 else 1)
        return ListsTask("word", _sample((*others, *out), None, rng), target)
    target = WORDS[rng.integers(len(WORDS))][0]
    out = [word for word in WORDS if word[0] == target]
    out = list(_sample(out, min(len(out), int(rng.integers(1, 3))), rng))
    others = list(_sample([word for word in WORDS if word[0] != target], count, rng))
    return ListsTask("letter", _sample((*others, *out), None, rng), target)


def _draw_chores_task(rng: Rng) -> ListsTask:
    """Return a task to order chores."""
    chores = _sample(CHORES, int(rng.integers(3, 6)), rng)
    pairs = []
    for position in range(1, len(chores)):
        first = position - 1 if rng.random() < 0.6 else int(rng.integers(position))
        pairs.append((chores[first], chores[position]))
    order = rng.permutation(len(pairs))
    task = _plan(tuple(pairs[position] for position in order))
    looser = _plan(task.constraints[1:])
    all_named = len(looser.words) == len(chores)
    return looser if all_named and rng.random() < 0.5 else task


def _plan(constraints: tuple[WordPair, ...]) -> ListsTask:
    named = tuple(dict.fromkeys(chore for pair in constraints for chore in pair))
    return ListsTask("chores", named, constraints=constraints)


def _sample(pool: Sequence[str], count: int | None, rng: Rng) -> tuple[str, ...]:
    picked = rng.permutation(len(pool))[:count]
    return tuple(pool[position] for position in picked)


_REQUESTS: tuple[tuple[ListTaskKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(head.format(target="(?P<target>[a-z]+)") + r": (?P<items>[a-z,; ]+)\.\Z"))
    for kind, head in _HEADS.items()
)


def parse_task(text: str) -> ListsTask | None:
    """Return the task that a request states, or ``None``; it must be possible."""
    for kind, pattern in _REQUESTS:
        result = pattern.match(text)
        if result:
            return _parse_stated(
                kind, result.groupdict().get("target") or "", result["items"], text
            )
    return None


def _parse_stated(kind: ListTaskKind, target: str, items: str, text: str) -> ListsTask | None:
    if kind == "chores":
        constraints = tuple(_constraints(items))
        if any(first == second for first, second in _transitive_closure(constraints)):
            return None
        task = _plan(constraints)
    else:
        task = ListsTask(kind, tuple(items.split(", ")), target)
        if kind not in _SORTS and not any(word in task.banned for word in task.words):
            return None
        if kind == "letter" and len(target) != 1:
            return None
    requested = task.expected
    sensible = 2 <= len(requested) == len(set(requested)) <= _MAX_WORDS and "and" not in requested
    return task if sensible and task.text == text else None


_MAX_WORDS = 12


def _constraints(items: str) -> Iterator[WordPair]:
    for piece in items.split("; "):
        first, _, second = piece.partition(" before ")
        yield first, second
