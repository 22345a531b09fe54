"""A writer of lists, of any care: what the small model is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from backtalk.worlds.generator import TaskGenerator
from backtalk.worlds.lists.layout import ENDINGS, SEPARATORS, Layout
from backtalk.worlds.lists.task import CHORES, WORDS, ListsTask

_Used = TypeVar("_Used")
_Choice = TypeVar("_Choice", bound=str)


class ListGenerator(TaskGenerator[ListsTask, Layout]):
    """Writes one list."""

    def write(self) -> str:
        """Return the list."""
        words = self._added(self._kept(self._ordered()))
        return self._laid_out(words)

    def _ordered(self) -> list[str]:
        """Return the words as the writer orders them, perhaps with some not taken out."""
        task, slips = self._task, self._care.wrong_facts
        if task.banned:
            words = [w for w in task.words if w not in task.banned or self._happens(slips)]
            slips /= 2
        else:
            words = self._right_order()
        for _ in task.wanted:
            if self._happens(slips / 3):
                self._disorder(words)
        return words

    def _right_order(self) -> list[str]:
        left, order = list(self._task.wanted), list[str]()
        while left:
            before = self._task.before
            free = [w for w in left if not any((other, w) in before for other in left)]
            order.append(self._pick(free))
            left.remove(order[-1])
        return order

    def _disorder(self, words: list[str]) -> None:
        """Let one word slip to another place, or two change places."""
        first, second = (int(place) for place in self._probability.permutation(len(words))[:2])
        if self._happens(0.6):
            words.insert(second, words.pop(first))
        else:
            words[first], words[second] = words[second], words[first]

    def _kept(self, words: list[str]) -> list[str]:
        gaps = self._care.omissions
        if self._happens(gaps / 15):
            return []
        return [word for word in words if not self._happens(gaps / 2)]

    def _added(self, words: list[str]) -> list[str]:
        """Return the words, perhaps with one of them again or with one that was not asked for."""
        extras = self._care.irrelevant
        if self._happens(extras / 2):
            pool = CHORES if self._task.kind == "chores" else WORDS
            new = self._pick([word for word in pool if word not in self._task.words])
            words.insert(self._probability.integers(len(words) + 1), new)
        if words and self._happens(extras / 2):
            words.insert(self._probability.integers(len(words) + 1), self._pick(words))
        return words

    def _laid_out(self, words: list[str]) -> str:
        layout = self._manner
        layout = replace(
            layout,
            dashes=layout.dashes != self._mistaken(),
            opening=layout.opening != self._mistaken(),
            ending=self._another(ENDINGS, layout.ending),
        )
        separators = self._throughout(
            layout.separator, self._another(SEPARATORS, layout.separator), len(words)
        )
        other = replace(layout, capitals=layout.capitals != self._mistaken())
        layouts = self._throughout(layout, other, len(words))
        text = layout.lead
        for word, manner, separator in zip(words, layouts, separators, strict=True):
            text += f"{layout.dash}{manner.word(word)}{separator}"
        return (text.removesuffix(separators[-1]) if words else text) + layout.ending

    def _throughout(self, right: _Used, used: _Used, count: int) -> list[_Used]:
        """Return what is used everywhere, or by mistake in one place only."""
        if count == 0 or right == used or self._happens(0.6):
            return [used] * count
        only = int(self._probability.integers(count))
        return [used if place == only else right for place in range(count)]

    def _another(self, choices: Mapping[_Choice, object], wanted: _Choice) -> _Choice:
        """Return what is wanted, or by mistake another."""
        if not self._mistaken():
            return wanted
        return self._pick([choice for choice in choices if choice != wanted])

    def _mistaken(self) -> bool:
        return self._happens(self._care.style / 2)
