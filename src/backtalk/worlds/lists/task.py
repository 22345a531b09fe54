"""A request about a list of words, with what is true about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

from backtalk.worlds.world import Rng

Kind = Literal["alphabet", "word", "letter", "chores", "reverse", "length"]
Pair = tuple[str, str]
"""Two words, the first of which must stand before the second."""

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

_HEADS: dict[Kind, str] = {
    "alphabet": "Sort by the alphabet",
    "reverse": "Sort from z to a",
    "length": "Sort by length",
    "word": "Take out the word {target}",
    "letter": "Take out every word that begins with {target}",
    "chores": "Order the chores",
}
_SORTS: tuple[Kind, ...] = ("alphabet", "reverse", "length")


@dataclass(frozen=True)
class ListsTask:
    """Words, and what to do with them."""

    kind: Kind
    words: tuple[str, ...]
    """The words of the request, in its order; chores as they are first named."""
    target: str = ""
    """The word, or the letter of the words, to take out."""
    constraints: tuple[Pair, ...] = ()
    """Which chore comes before which."""

    @property
    def text(self) -> str:
        """The request."""
        return f"{self.head}: {self.listed}."

    @property
    def head(self) -> str:
        """What to do."""
        return _HEADS[self.kind].format(target=self.target)

    @property
    def listed(self) -> str:
        """With what, as the request lists it."""
        if self.kind == "chores":
            return "; ".join(f"{first} before {second}" for first, second in self.constraints)
        return ", ".join(self.words)

    @cached_property
    def banned(self) -> frozenset[str]:
        """The words to take out."""
        if self.kind == "word":
            return frozenset({self.target})
        if self.kind == "letter":
            return frozenset(word for word in self.words if word.startswith(self.target))
        return frozenset()

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """The words of the answer, in a right order."""
        match self.kind:
            case "alphabet" | "reverse":
                return tuple(sorted(self.words, reverse=self.kind == "reverse"))
            case "length":
                return tuple(sorted(self.words, key=len))
            case "chores":
                return tuple(nearest_order(self.words, _closed(self.constraints)))
            case _:
                return tuple(word for word in self.words if word not in self.banned)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """What an order must fulfil to be right, and by what share of it is judged."""
        if self.kind == "chores":
            return self.constraints
        pairs = combinations(self.wanted, 2)
        return tuple(p for p in pairs if self.kind != "length" or len(p[0]) != len(p[1]))

    @cached_property
    def before(self) -> frozenset[Pair]:
        """The pairs, and all that follows from them."""
        return _closed(self.pairs)


def nearest_order(words: Sequence[str], before: frozenset[Pair]) -> list[str]:
    """Return the words in a right order: always the first of those that may come next."""
    left = list(words)
    order = []
    while left:
        free = (w for w in left if not any((other, w) in before for other in left))
        order.append(next(free))
        left.remove(order[-1])
    return order


def _closed(pairs: Sequence[Pair]) -> frozenset[Pair]:
    closed = set(pairs)
    while more := {(a, d) for a, b in closed for c, d in closed if b == c} - closed:
        closed |= more
    return frozenset(closed)


def draw_task(rng: Rng, *, unusual: bool) -> ListsTask:
    """Return a request at random; an unusual one sorts from z to a, or by length."""
    if unusual:
        kind: Kind = "reverse" if rng.random() < 0.5 else "length"
        return ListsTask(kind, _to_sort(kind, rng))
    draw = rng.random()
    if draw < 0.4:
        return ListsTask("alphabet", _to_sort("alphabet", rng))
    return _to_thin(rng) if draw < 0.7 else _to_plan(rng)


def _to_sort(kind: Kind, rng: Rng) -> tuple[str, ...]:
    """Return words that are not sorted yet, mostly with different first letters."""
    count = int(rng.integers(3, 5 if kind == "length" else 7))
    mixed = rng.random() < 0.2
    while True:
        words = _some(WORDS, count, rng)
        key = {len(w) if kind == "length" else w[0] for w in words}
        unlike = len(key) == count or (mixed and kind != "length")
        if unlike and ListsTask(kind, words).wanted != words:
            return words


def _to_thin(rng: Rng) -> ListsTask:
    """Return a list that words are to be taken out of."""
    count = int(rng.integers(2, 5))
    if rng.random() < 0.5:
        target, *others = _some(WORDS, count + 1, rng)
        out = [target] * (2 if rng.random() < 0.3 else 1)
        return ListsTask("word", _some((*others, *out), None, rng), target)
    target = WORDS[rng.integers(len(WORDS))][0]
    out = [word for word in WORDS if word[0] == target]
    out = list(_some(out, min(len(out), int(rng.integers(1, 3))), rng))
    others = list(_some([word for word in WORDS if word[0] != target], count, rng))
    return ListsTask("letter", _some((*others, *out), None, rng), target)


def _to_plan(rng: Rng) -> ListsTask:
    """Return chores, each to be done before or after another."""
    chores = _some(CHORES, int(rng.integers(3, 6)), rng)
    pairs = []
    for place in range(1, len(chores)):
        first = place - 1 if rng.random() < 0.6 else int(rng.integers(place))
        pairs.append((chores[first], chores[place]))
    order = rng.permutation(len(pairs))
    task = _planned(tuple(pairs[place] for place in order))
    looser = _planned(task.constraints[1:])
    all_named = len(looser.words) == len(chores)
    return looser if all_named and rng.random() < 0.5 else task


def _planned(constraints: tuple[Pair, ...]) -> ListsTask:
    named = tuple(dict.fromkeys(chore for pair in constraints for chore in pair))
    return ListsTask("chores", named, constraints=constraints)


def _some(pool: Sequence[str], count: int | None, rng: Rng) -> tuple[str, ...]:
    picked = rng.permutation(len(pool))[:count]
    return tuple(pool[place] for place in picked)


_REQUESTS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(head.format(target="(?P<target>[a-z]+)") + r": (?P<listed>[a-z,; ]+)\.\Z"))
    for kind, head in _HEADS.items()
)


def parse_task(text: str) -> ListsTask | None:
    """Return the request that a text states, if it is one that can be fulfilled."""
    for kind, pattern in _REQUESTS:
        result = pattern.match(text)
        if result:
            return _stated(kind, result.groupdict().get("target") or "", result["listed"], text)
    return None


def _stated(kind: Kind, target: str, listed: str, text: str) -> ListsTask | None:
    if kind == "chores":
        constraints = tuple(_constraints(listed))
        if any(first == second for first, second in _closed(constraints)):
            return None
        task = _planned(constraints)
    else:
        task = ListsTask(kind, tuple(listed.split(", ")), target)
        if kind not in _SORTS and not any(word in task.banned for word in task.words):
            return None
        if kind == "letter" and len(target) != 1:
            return None
    asked = task.wanted
    sensible = 2 <= len(asked) == len(set(asked)) <= _LONGEST and "and" not in asked
    return task if sensible and task.text == text else None


_LONGEST = 12


def _constraints(listed: str) -> Iterator[Pair]:
    for piece in listed.split("; "):
        first, _, second = piece.partition(" before ")
        yield first, second
