"""Generator of lists with random errors, the training data of the small model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from backtalk.worlds.generator import TaskGenerator
from backtalk.worlds.lists.layout import ENDINGS, SEPARATORS, ListLayout
from backtalk.worlds.lists.task import CHORES, WORDS, ListsTask

_Format = TypeVar("_Format")
_Choice = TypeVar("_Choice", bound=str)


class ListGenerator(TaskGenerator[ListsTask, ListLayout]):
    """Generator of one list."""

    def write(self) -> str:
        """Return a random list."""
        words = self._add_words(self._omit_words(self._order_words()))
        return self._render(words)

    def _order_words(self) -> list[str]:
        """Return the words in order with random errors, perhaps with some not removed."""
        task, error_rate = self._task, self._error_rates.wrong_facts
        if task.banned:
            words = [w for w in task.words if w not in task.banned or self._happens(error_rate)]
            error_rate /= 2
        else:
            words = self._random_right_order()
        for _ in task.expected:
            if self._happens(error_rate / 3):
                self._disorder(words)
        return words

    def _random_right_order(self) -> list[str]:
        remaining, order = list(self._task.expected), list[str]()
        while remaining:
            before = self._task.before
            free = [w for w in remaining if not any((other, w) in before for other in remaining)]
            order.append(self._pick(free))
            remaining.remove(order[-1])
        return order

    def _disorder(self, words: list[str]) -> None:
        """Move one word to another position, or swap two."""
        first, second = (int(position) for position in self._rng.permutation(len(words))[:2])
        if self._happens(0.6):
            words.insert(second, words.pop(first))
        else:
            words[first], words[second] = words[second], words[first]

    def _omit_words(self, words: list[str]) -> list[str]:
        omission_rate = self._error_rates.omissions
        if self._happens(omission_rate / 15):
            return []
        return [word for word in words if not self._happens(omission_rate / 2)]

    def _add_words(self, words: list[str]) -> list[str]:
        """Return the words, perhaps with a repeated word or an unexpected one."""
        irrelevant_rate = self._error_rates.irrelevant
        if self._happens(irrelevant_rate / 2):
            pool = CHORES if self._task.kind == "chores" else WORDS
            new = self._pick([word for word in pool if word not in self._task.words])
            words.insert(self._rng.integers(len(words) + 1), new)
        if words and self._happens(irrelevant_rate / 2):
            words.insert(self._rng.integers(len(words) + 1), self._pick(words))
        return words

    def _render(self, words: list[str]) -> str:
        layout = self._style
        layout = replace(
            layout,
            dashes=layout.dashes != self._is_mistaken(),
            opening=layout.opening != self._is_mistaken(),
            ending=self._replaced_by_mistake(ENDINGS, layout.ending),
        )
        separators = self._spread(
            layout.separator, self._replaced_by_mistake(SEPARATORS, layout.separator), len(words)
        )
        other = replace(layout, capitals=layout.capitals != self._is_mistaken())
        layouts = self._spread(layout, other, len(words))
        text = layout.lead
        for word, style, separator in zip(words, layouts, separators, strict=True):
            text += f"{layout.dash}{style.format_word(word)}{separator}"
        return (text.removesuffix(separators[-1]) if words else text) + layout.ending

    def _spread(self, right: _Format, used: _Format, count: int) -> list[_Format]:
        """Return the format of each word: the same for all, or a mistake at one position only."""
        if count == 0 or right == used or self._happens(0.6):
            return [used] * count
        only = int(self._rng.integers(count))
        return [used if position == only else right for position in range(count)]

    def _replaced_by_mistake(self, choices: Mapping[_Choice, object], expected: _Choice) -> _Choice:
        """Return the intended choice, or another by mistake."""
        if not self._is_mistaken():
            return expected
        return self._pick([choice for choice in choices if choice != expected])

    def _is_mistaken(self) -> bool:
        return self._happens(self._error_rates.style / 2)
